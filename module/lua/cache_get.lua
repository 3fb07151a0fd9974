-- An entry of the cache.
--
-- KEYS   the entry
-- ARGV   id of the call, longest value in bytes
-- Reply  the value, nil if there is none or it is longer; and the id

local key, id, most = KEYS[1], ARGV[1], tonumber(ARGV[2])

if redis.call('STRLEN', key) > most then
    return { false, id }
end

return { redis.call('GET', key), id }
