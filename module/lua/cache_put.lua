-- Stores an entry of the cache.
--
-- KEYS   the entry
-- ARGV   id of the call, the value, its lifetime in ms
-- Reply  the id

redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])

return { ARGV[1] }
