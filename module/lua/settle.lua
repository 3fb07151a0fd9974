-- Settles a hold: what was reserved becomes what was used.  The hold is what
-- makes it happen once: a second call finds none, and does nothing.
--
-- KEYS   for each zone its three keys (bucket.lua), then the stream of alerts
-- ARGV   id of the hold, number of zones; requests, tokens and cost that were
--        used, -1: as reserved
-- Reply  in how many zones there was a hold to settle; then alerts: zone,
--        limit, percent; and the id

local id, count = ARGV[1], tonumber(ARGV[2])
local actual = { tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]) }
local now = clock()
local reply = { 0 }

for i = 1, count do
    local key, queue, late = KEYS[i * 3 - 2], KEYS[i * 3 - 1], KEYS[i * 3]
    local buckets, text = fields(key, id)

    if text then
        apply(reply, KEYS[#KEYS], key, i, buckets, numbers(text), actual, now,
              false)
        redis.call('HDEL', key, id)
        redis.call('ZREM', queue, id)
        reply[1] = reply[1] + 1

    else
        text = redis.call('HGET', late, id)
        if text then
            apply(reply, KEYS[#KEYS], key, i, buckets, numbers(text), actual,
                  now, true)
            redis.call('HDEL', late, id)
            if redis.call('PTTL', key) < 0 then
                redis.call('PEXPIRE', key, 7 * DAY)
            end
            reply[1] = reply[1] + 1
        end
    end
end

reply[#reply + 1] = id

return reply
