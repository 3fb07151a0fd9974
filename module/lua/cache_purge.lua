-- Raises the counter of what is purged, and the version of all of them.
--
-- KEYS   PREFIXpurge, hash: counters by their index; v, the version
-- ARGV   id of the call, index, what the counter is at least, and what is
--        added to it: 1 to purge, 0 where Redis has lost what a node knows
-- Reply  the id
--
-- Counters never go back.  One call is told twice after a lost connection:
-- it purges twice then.  The version is a time: after Redis has lost all it
-- does not become one that was there before.

local key, id, index = KEYS[1], ARGV[1], ARGV[2]
local least, more = tonumber(ARGV[3]), tonumber(ARGV[4])
local KEPT = 31 * 86400000     -- longer than any entry, ms

local function number(field)
    return tonumber(redis.call('HGET', key, field) or 0) or 0
end

local now = redis.call('TIME')
local version = math.max(number('v') + 1, now[1] * 1000000 + now[2])
local counter = math.max(number(index) + more, least)

redis.call('HMSET', key, index, string.format('%.0f', counter),
           'v', string.format('%.0f', version))
redis.call('PEXPIRE', key, KEPT)

return { id }
