-- What was purged since a node has asked last.
--
-- KEYS   PREFIXpurge (cache_purge.lua)
-- ARGV   id of the call, the version the node knows, empty if none
-- Reply  the version, empty if nothing was purged yet; if it is another one,
--        all counters as "index value index value ..."; and the id

local key, id, known = KEYS[1], ARGV[1], ARGV[2]
local version = redis.call('HGET', key, 'v') or ''

if version == known then
    return { version, id }
end

local all = redis.call('HGETALL', key)
local counters = {}

for i = 1, #all, 2 do
    local pair = all[i] .. ' ' .. all[i + 1]
    if string.find(pair, '^%d+ %d+$') then
        counters[#counters + 1] = pair
    end
end

return { version, table.concat(counters, ' '), id }
