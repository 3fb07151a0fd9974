-- Reserves what a request needs of every zone, or nothing of any.
--
-- KEYS   for each zone its three keys (bucket.lua), then the stream of alerts
-- ARGV   id of the hold, its lifetime in ms, 1 = shadow, number of zones;
--        for each zone: n, period, need of requests, of tokens, of cost (a
--        limit that does not apply: n is -1), n of concurrency
-- Reply  1 reserved, 0 refused (nothing has changed), 2 it was reserved before;
--        for each zone: the limit that refuses (1 to 3, 4 concurrency, 0
--        none), ms to wait, then left and ms to reset of requests, tokens,
--        cost; then alerts of holds that were swept: zone, limit, percent.
--        All zones are from 1.  The id ends it: whose answer it is.
-- A zone in shadow that would refuse reserves nothing and refuses nothing.

local id, life, shadow, count = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1',
                                tonumber(ARGV[4])
local stream = KEYS[#KEYS]
local now = clock()
local raised, zones = {}, {}

-- holds past their deadline are charged as they are, a few in each call

local function sweep(zone, key, queue, late)
    for _, rid in ipairs(redis.call('ZRANGEBYSCORE', queue, '-inf', now,
                                    'LIMIT', 0, 4))
    do
        local buckets, text = fields(key, rid)
        if text then
            apply(raised, stream, key, zone, buckets, numbers(text),
                  { -1, -1, -1 }, now, false)
            redis.call('HDEL', key, rid)
            if redis.call('HLEN', late) < LATE then
                redis.call('HSET', late, rid, text)
                redis.call('PEXPIRE', late, GRACE)
            end
        end
        redis.call('ZREM', queue, rid)
    end
end

local function last(key, ttl)
    if redis.call('PTTL', key) < ttl then
        redis.call('PEXPIRE', key, ttl + floor(ttl / 2))
    end
end

local again, refused = false, false

for i = 1, count do
    local z = { key = KEYS[i * 3 - 2], queue = KEYS[i * 3 - 1], limits = {},
                refuses = 0, wait = 0, ttl = life + GRACE }
    local base = 4 + (i - 1) * 10

    sweep(i, z.key, z.queue, KEYS[i * 3])
    z.buckets, z.hold = fields(z.key, id)

    if z.hold then
        again = true
    end

    for kind = 1, 3 do
        local n = tonumber(ARGV[base + kind * 3 - 2])
        if n >= 0 then
            local l = { n = n, period = tonumber(ARGV[base + kind * 3 - 1]),
                        need = tonumber(ARGV[base + kind * 3]) }
            local b = z.buckets[kind]

            turn(b, l.n, l.period, now)

            local ms = wait(b, l.n, l.period, l.need, now)
            if ms > 0 and z.refuses == 0 then
                z.refuses = kind
            end
            if ms > z.wait then
                z.wait = ms
            end

            local ttl = l.period * 2
            if l.period < 0 then
                local _, border = window(l.period, now)
                ttl = border - now + 7 * DAY
            end
            if ttl > z.ttl then
                z.ttl = ttl
            end

            z.limits[kind] = l
        end
    end

    -- a hold past its deadline that has yet to be swept is not under way

    local most = tonumber(ARGV[base + 10])
    if most >= 0 and z.refuses == 0
       and redis.call('ZCOUNT', z.queue, '(' .. now, '+inf') >= most
    then
        z.refuses, z.wait = 4, 1000
    end

    if z.refuses > 0 then
        refused = true
    end

    zones[i] = z
end

local status = again and 2 or refused and not shadow and 0 or 1

if status == 1 then
    for i = 1, count do
        local z = zones[i]

        if z.refuses == 0 then
            local set, hold = {}, {}

            for kind = 1, 3 do
                local l = z.limits[kind]
                if l then
                    local b = z.buckets[kind]
                    take(b, l.period, l.need)
                    set[#set + 1] = KINDS[kind]
                    set[#set + 1] = print(b)
                    hold[kind] = string.format('%.0f %.0f %.0f %.0f', l.need,
                                               b.at, l.n, l.period)
                else
                    hold[kind] = '0 0 0 0'
                end
            end

            set[#set + 1] = id
            set[#set + 1] = table.concat(hold, ' ')

            redis.call('HMSET', z.key, unpack(set))
            redis.call('ZADD', z.queue, now + life, id)
            last(z.key, z.ttl)
            last(z.queue, z.ttl)
        end
    end
end

local reply = { status }

for i = 1, count do
    local z = zones[i]

    reply[#reply + 1] = status == 2 and 0 or z.refuses
    reply[#reply + 1] = status == 2 and 0 or z.wait

    for kind = 1, 3 do
        local l = z.limits[kind]
        local b = z.buckets[kind]
        reply[#reply + 1] = l and left(b, l.n, l.period) or -1
        reply[#reply + 1] = l and reset(b, l.n, l.period, now) or -1
    end
end

for _, word in ipairs(raised) do
    reply[#reply + 1] = word
end

reply[#reply + 1] = id

return reply
