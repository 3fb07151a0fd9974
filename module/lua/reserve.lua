-- Reserves what a request needs of every zone, or nothing of any.
--
-- KEYS   for each zone its three keys (bucket.lua), then the stream of alerts
-- ARGV   id of the hold, its lifetime in ms, 1 = shadow, number of zones;
--        for each zone, packed: n, period, need of requests, of tokens, of
--        cost (a limit that does not apply: n is -1), n of concurrency (-1:
--        no limit, -2: the request takes no slot)
-- Reply  1 reserved, 0 refused (nothing has changed), 2 it was reserved before;
--        for each zone, packed: the limit that refuses (1 to 3, 4 concurrency,
--        0 none), ms to wait, then left and ms to reset of requests, tokens,
--        cost; then alerts of holds that were swept: zone, limit, percent.
--        All zones are from 1.  The id ends it: whose answer it is.
-- A zone in shadow that would refuse reserves nothing and refuses nothing.
-- The deadline of a hold without a slot is negative: such a hold is past its
-- deadline from -now on, as one with a slot is up to now.

local id, life, shadow, count = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1',
                                tonumber(ARGV[4])
local stream = KEYS[#KEYS]
local now = clock()
local text_now = string.format('%.0f', now)
local raised, zones = {}, {}

-- holds past their deadline are charged as they are, a few in each call

local function sweep(zone, key, queue, late)
    for _, rid in ipairs(call('ZRANGEBYSCORE', queue, '-' .. text_now,
                              text_now, 'LIMIT', 0, 4))
    do
        local got = fields(key, rid)
        if got[4] then
            apply(raised, stream, key, zone, got, { -1, -1, -1 }, now, false)
            call('HDEL', key, rid)
            if call('HLEN', late) < LATE then
                call('HSET', late, rid, got[4])
                call('PEXPIRE', late, GRACE)
            end
        end
        call('ZREM', queue, rid)
    end
end

local again, refused = false, false

for i = 1, count do
    local z = { key = KEYS[i * 3 - 2], queue = KEYS[i * 3 - 1],
                limits = { false, false, false },
                buckets = { false, false, false },
                refuses = 0, wait = 0, ttl = life + GRACE }
    local asked = { struct.unpack('<dddddddddd', ARGV[4 + i]) }

    if call('ZCOUNT', z.queue, '-' .. text_now, text_now) > 0 then
        sweep(i, z.key, z.queue, KEYS[i * 3])
    end

    local got = fields(z.key, id)

    if got[4] then
        again = true
    end

    for kind = 1, 3 do
        local n = asked[kind * 3 - 2]
        if n >= 0 then
            local l = { n = n, period = asked[kind * 3 - 1],
                        need = asked[kind * 3] }
            local b = read(got[kind])

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

            z.limits[kind], z.buckets[kind] = l, b
        end
    end

    -- a hold past its deadline that has yet to be swept is not under way

    local most = asked[10]
    z.deadline = most == -2 and -(now + life) or now + life
    if most >= 0 and z.refuses == 0
       and call('ZCOUNT', z.queue, '(' .. text_now, '+inf') >= most
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
            local hold = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
            local set, len = {}, 0

            for kind = 1, 3 do
                local l = z.limits[kind]
                if l then
                    local b = z.buckets[kind]
                    take(b, l.period, l.need)
                    set[len + 1], set[len + 2] = KINDS[kind], write(b)
                    len = len + 2
                    hold[kind * 4 - 3], hold[kind * 4 - 2] = l.need, b.at
                    hold[kind * 4 - 1], hold[kind * 4] = l.n, l.period
                end
            end

            set[len + 1], set[len + 2] = id, struct.pack(HOLD, unpack(hold))

            call('HMSET', z.key, unpack(set))
            call('ZADD', z.queue, z.deadline, id)
            last(z.key, z.ttl)
            last(z.queue, z.ttl)
        end
    end
end

local reply = { status }

for i = 1, count do
    local z = zones[i]
    local told = { status == 2 and 0 or z.refuses,
                   status == 2 and 0 or z.wait, -1, -1, -1, -1, -1, -1 }

    for kind = 1, 3 do
        local l, b = z.limits[kind], z.buckets[kind]
        if l then
            told[kind * 2 + 1] = left(b, l.n, l.period)
            told[kind * 2 + 2] = reset(b, l.n, l.period, now)
        end
    end

    reply[i + 1] = struct.pack('<dddddddd', unpack(told))
end

for _, word in ipairs(raised) do
    reply[#reply + 1] = word
end

reply[#reply + 1] = id

return reply
