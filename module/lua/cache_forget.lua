-- Deletes an entry of the cache: nobody can open it.
--
-- KEYS   the entry
-- ARGV   id of the call
-- Reply  the id

redis.call('DEL', KEYS[1])

return { ARGV[1] }
