-- Runs the commands that the other scripts need.  Called over a new connection
-- after Redis has rejected a script, or if llm_redis has a user.
--
-- KEYS   PREFIXprobe:h
-- ARGV   the scripts: quota or cache
-- Reply  0; or the first command that is rejected, as text

local key, zset, stream = KEYS[1], KEYS[1] .. ':z', KEYS[1] .. ':s'

local commands = {
    quota = {
        { 'TIME' },
        { 'HMSET', key, 'f', '1' }, { 'HSET', key, 'f', '1' },
        { 'HMGET', key, 'f' }, { 'HGET', key, 'f' }, { 'HLEN', key },
        { 'HDEL', key, 'g' }, { 'PTTL', key }, { 'PEXPIRE', key, '1000' },
        { 'ZADD', zset, '1', 'm' }, { 'ZCOUNT', zset, '0', '1' },
        { 'ZRANGEBYSCORE', zset, '0', '1' }, { 'ZREM', zset, 'm' },
        { 'XADD', stream, 'MAXLEN', '~', '1', '*', 'f', '1' },
        { 'PEXPIRE', stream, '1000' },
    },
    cache = {
        { 'TIME' },
        { 'SET', zset, '1', 'PX', '1000' }, { 'STRLEN', zset },
        { 'GET', zset }, { 'DEL', zset },
        { 'HMSET', key, 'f', '1' }, { 'HGET', key, 'f' },
        { 'HGETALL', key }, { 'PEXPIRE', key, '1000' },
    },
}

for _, command in ipairs(commands[ARGV[1]]) do
    local reply = redis.pcall(unpack(command))

    if type(reply) == 'table' and reply.err then
        return command[1]
    end
end

return 0
