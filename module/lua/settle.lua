-- Settles a hold: what was reserved becomes what was used.  The hold is what
-- makes it happen once: a second call finds none, and does nothing.
--
-- KEYS   for each zone its three keys (bucket.lua), then the stream of alerts
-- ARGV   id of the hold, number of zones; requests, tokens and cost that were
--        used, -1: as reserved
-- Reply  in how many zones there was a hold to settle; then alerts: zone,
--        limit, percent; and the id.  An error, if a zone's keys are not what
--        these scripts write: the other zones are settled all the same.

local id, count = ARGV[1], tonumber(ARGV[2])
local actual = { tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]) }
local now = clock()
local reply = { 0 }
local failed

local function zone(i)
    local key, queue, late = KEYS[i * 3 - 2], KEYS[i * 3 - 1], KEYS[i * 3]
    local got = fields(key, id)

    if got[4] then
        apply(reply, KEYS[#KEYS], key, i, got, actual, now, false)
        call('HDEL', key, id)
        call('ZREM', queue, id)
        reply[1] = reply[1] + 1
        return
    end

    got[4] = call('HGET', late, id)

    if got[4] then
        apply(reply, KEYS[#KEYS], key, i, got, actual, now, true)
        call('HDEL', late, id)
        last(key, 7 * DAY)
        reply[1] = reply[1] + 1
    end
end

for i = 1, count do
    local ok, err = pcall(zone, i)

    if not ok then
        failed = failed or err
    end
end

-- before 7.0 an error of a command is a string, and not a reply

if type(failed) == 'string' then
    return redis.error_reply(string.match(failed, ': %-(%u+ .*)$')
                             or 'ERR ' .. failed)
elseif failed then
    return failed
end

reply[#reply + 1] = id

return reply
