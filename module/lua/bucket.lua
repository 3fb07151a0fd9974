-- What both scripts share; it stands before each of them.
--
-- Keys of one zone and identity, PREFIX{ZONE:HASH} and what follows:
--   ""    hash: r, t, c (requests, tokens, cost), each a bucket: used, rest,
--         at, alerts and the marks as in ngx_llm_bucket.h; and the holds, by id
--   ":z"  sorted set: the ids of the holds by their deadline, ms
--   ":x"  hash: holds that were swept, for a settlement that comes late
--
-- A hold is need, window, n and period of requests, tokens and cost in turn; a
-- limit that does not apply has the period 0.  Everything is an integer below
-- 2^53, so exact in a double.  Both are packed, as text takes several times as
-- long to write and to read.

local KINDS = { 'r', 't', 'c' }
local BUCKET, HOLD = '<dddd', '<dddddddddddd'
local NONE = {}
local DAY = 86400000
local GRACE = 3600000          -- a key outlives its last hold by, ms
local LATE = 1000              -- swept holds that are remembered
local MAX = 2^52               -- longest wait, ms
local USED = 2^53 - 1          -- most units used, debts included
local MARKS = 6                -- of a bucket, NGX_LLM_BUCKET_MARKS

local floor, ceil, fmod = math.floor, math.ceil, math.fmod
local min, max = math.min, math.max
local call = redis.call

local function clock()
    local t = call('TIME')
    return t[1] * 1000 + floor(t[2] / 1000)
end

-- id and end of the window that now is in; see ngx_llm_bucket_window()

local function window(period, now)
    local day = floor(now / DAY)

    if period == -1 then
        return day, (day + 1) * DAY
    end

    local z = day + 719468
    local era = floor(z / 146097)
    local of_era = z - era * 146097
    local year = floor((of_era - floor(of_era / 1460) + floor(of_era / 36524)
                        - floor(of_era / 146096)) / 365)
    local of_year = of_era - (365 * year + floor(year / 4)
                              - floor(year / 100))
    local month = floor((5 * of_year + 2) / 153)
    local of_month = of_year - floor((153 * month + 2) / 5)

    year = year + era * 400
    if month >= 10 then
        year = year + 1
    end
    month = (month + 2) % 12

    local length = ({ 31, 28, 31, 30, 31, 30,
                      31, 31, 30, 31, 30, 31 })[month + 1]
    if month == 1 and year % 4 == 0
       and (year % 100 ~= 0 or year % 400 == 0)
    then
        length = 29
    end

    return year * 12 + month, (day - of_month + length) * DAY
end

-- A field of the hash; nothing is used of a bucket without a field.  A mark is
-- { from, low, part }, see ngx_llm_bucket_t.

local function read(packed)
    local b = { used = 0, rest = 0, at = 0, alerts = 0, marks = {} }

    if packed then
        local at
        b.used, b.rest, b.at, b.alerts, at = struct.unpack(BUCKET, packed)
        while at <= #packed do
            local mark = {}
            mark[1], mark[2], mark[3], at = struct.unpack('<ddd', packed, at)
            b.marks[#b.marks + 1] = mark
        end
    end

    return b
end

local function write(b)
    local packed = struct.pack(BUCKET, b.used, b.rest, b.at, b.alerts)

    for i = 1, #b.marks do
        packed = packed .. struct.pack('<ddd', unpack(b.marks[i]))
    end

    return packed
end

local function clear(b)
    b.used, b.rest, b.marks = 0, 0, {}
end

-- A level is a pair: units, and the 1/period of a unit that are off them.

local function higher(units, part, units2, part2)
    return units > units2 or units == units2 and part < part2
end

local function less(units, part, units2, part2, period)
    if part < part2 then
        return units - units2 + 1, part - part2 + period
    end
    return units - units2, part - part2
end

-- What decays in dt: whole units, and 1/period of a unit in addition to part.
-- Whole periods first, then dt * n in two parts: it may be beyond 2^53.

local function decay(n, period, dt, part)
    local ms = fmod(dt, period)
    local r = fmod(n, period)
    local units = ms * r + part
    local left = fmod(units, period)

    return (dt - ms) / period * n + ms * ((n - r) / period)
           + (units - left) / period, left
end

-- no mark is above the present level

local function lower_marks(b)
    local marks = b.marks

    for i = 1, #marks do
        if not higher(b.used, b.rest, marks[i][2], marks[i][3]) then
            marks[i][2], marks[i][3] = b.used, b.rest
            while #marks > i do
                marks[#marks] = nil
            end
            return
        end
    end
end

-- marks the level after a reservation, see ngx_llm_bucket_add_mark()

local function add_mark(b)
    local marks = b.marks
    local count = #marks

    if count > 0 and marks[count][1] == b.at then
        marks[count][2], marks[count][3] = b.used, b.rest
        return
    end

    marks[count + 1] = { b.at, b.used, b.rest }

    if count < MARKS then
        return
    end

    local drop, least = count + 1, b.used - marks[count][2]

    for i = 1, count do
        local gap = marks[i][2] - (i > 1 and marks[i - 1][2] or 0)
        if gap < least then
            drop, least = i, gap
        end
    end

    table.remove(marks, drop)
end

local function turn(b, n, period, now)
    if period < 0 then
        local id = window(period, now)
        if id ~= b.at and id + 1 ~= b.at then
            clear(b)
            b.alerts, b.at = 0, id
        end
        return
    end

    if b.at - now > period then
        b.at, b.marks = now, {}
    end

    b.alerts = max(b.alerts, n)

    local dt = now - b.at
    if dt <= 0 then
        return
    end

    local units, rest = decay(n, period, dt, b.rest)

    b.at = now

    if units >= b.used then
        clear(b)
        return
    end

    b.used, b.rest = b.used - units, rest

    lower_marks(b)
end

-- until so many units have decayed; beyond 2^53 not exact, but not too short

local function time(b, n, period, units, now)
    local ms = b.at > now and b.at - now or 0
    local r = fmod(units, n)
    local q = (units - r) / n
    local part = r * period

    ms = ms + q * period

    if part >= 2^53 then
        return min(ms + floor(r / n * period) + 2, MAX)
    end

    -- ceil((part - rest) / n), by whole numbers

    part = part - b.rest
    local m = fmod(part, n)
    ms = ms + (part - m) / n
    if m > 0 then
        ms = ms + 1
    end
    return min(ms, MAX)
end

-- end of the window it is in: the next one if the clock went back from there

local function border(b, period, now)
    local id, last = window(period, now)
    if b.at > id then
        id, last = window(period, last)
    end
    return last
end

local function wait(b, n, period, need, now)
    if period < 0 then
        if n > 0 and (need == 0 or b.used + b.rest + need <= n) then
            return 0
        end
        return border(b, period, now) - now
    end

    if n == 0 then
        return period
    end
    if need == 0 or b.used + need <= n then
        return 0
    end
    return time(b, n, period, b.used - n + need, now)
end

local function take(b, period, need)
    if period < 0 then
        b.rest = b.rest + need
    elseif b.used == 0 then
        b.used = need
    elseif need > 0 then
        b.used = b.used + need
        add_mark(b)
    end
end

local function left(b, n, period)
    local l = n - b.used
    if period < 0 then
        l = l - b.rest
    end
    return l > 0 and l or 0
end

local function reset(b, n, period, now)
    if period < 0 then
        return border(b, period, now) - now
    end
    if n == 0 or b.used == 0 then
        return 0
    end
    return time(b, n, period, b.used, now)
end

-- thresholds crossed by what was spent of a window: a list of percents

local function alerts(b, n)
    if n == 0 or b.used < n / 2 then
        return NONE
    end

    local crossed = {}
    local bit = 1

    for _, percent in ipairs({ 50, 80, 100 }) do
        local r = fmod(n, 100)
        local part = (n - r) / 100 * percent + ceil(r * percent / 100)
        if b.used >= part and floor(b.alerts / bit) % 2 == 0 then
            b.alerts = b.alerts + bit
            crossed[#crossed + 1] = percent
        end
        bit = bit * 2
    end

    return crossed
end

-- see ngx_llm_bucket_sum()

local function sum(used, actual, need)
    return max(min(used + (actual - need), USED), 0)
end

-- the lowest level since a reservation, see ngx_llm_bucket_lowest()

local function lowest(b, n, period, start, need)
    local units, part = 0, 0

    if start > b.at then
        return 0, 0
    end

    n = max(n, b.alerts)

    for i = 1, #b.marks + 1 do
        local mark = b.marks[i] or { b.at, b.used, b.rest }
        local low, rest = mark[2], mark[3]

        if mark[1] > start then
            local gone, left = decay(n, period, mark[1] - start, 0)
            if higher(low, rest, need - gone, left) then
                low, rest = need - gone, left
            end
        end

        if higher(low, rest, units, part) then
            units, part = low, rest
        end
    end

    return units, part
end

-- gives back the unused part of a reservation, see ngx_llm_bucket_refund()

local function refund(b, n, period, start, need, unused)
    local low, rest = lowest(b, n, period, start, need)
    local back, part = low, rest

    if higher(low, rest, unused, 0) then
        back, part = unused, 0
    end

    b.used, b.rest = less(b.used, b.rest, back, part, period)

    if b.used <= 0 then
        clear(b)
        return
    end

    local keep, keep_part = less(low, rest, back, part, period)
    local marks = {}
    local last, last_part = 0, 0

    for i = 1, #b.marks do
        local mark = b.marks[i]

        if mark[1] <= start then
            if higher(mark[2], mark[3], keep, keep_part) then
                mark[2], mark[3] = keep, keep_part
            end
        elseif higher(low, rest, mark[2], mark[3]) then
            mark[2], mark[3] = keep, keep_part
        else
            mark[2], mark[3] = less(mark[2], mark[3], back, part, period)
        end

        if higher(mark[2], mark[3], last, last_part) then
            marks[#marks + 1] = mark
            last, last_part = mark[2], mark[3]
        end
    end

    b.marks = marks
end

-- replaces need by actual in the units used; late: the hold was swept, and
-- charged as need, before

local function settle(b, n, period, id, need, actual, now, late)
    turn(b, n, period, now)

    if period < 0 then
        if b.at ~= id then
            return NONE
        end
        if late then
            b.used = sum(b.used, actual, need)
        else
            b.rest = b.rest > need and b.rest - need or 0
            b.used = sum(b.used, actual, 0)
        end
        return alerts(b, n)
    end

    if actual < need then
        refund(b, n, period, id, need, need - actual)
    else
        b.used = sum(b.used, actual, need)
    end
    return NONE
end

-- extends the lifetime of a key to ttl; half as much again is added, so that
-- busy keys are not extended in each call

local function last(key, ttl)
    if call('PTTL', key) < ttl then
        call('PEXPIRE', key, ttl + floor(ttl / 2))
    end
end

-- one entry in the stream of alerts for each; percents go into the reply

local function raise(reply, stream, key, zone, kind, b, n, crossed)
    for _, percent in ipairs(crossed) do
        call('XADD', stream, 'MAXLEN', '~', '1000', '*',
             'bucket', key, 'limit', KINDS[kind],
             'threshold', percent, 'window', string.format('%.0f', b.at),
             'spent', string.format('%.0f', b.used),
             'of', string.format('%.0f', n))
        call('PEXPIRE', stream, 32 * DAY)
        reply[#reply + 1] = zone
        reply[#reply + 1] = kind
        reply[#reply + 1] = percent
    end
end

-- applies actual (-1: as reserved) to the buckets of a hold, and sets them;
-- both are as they stand in the hash

local function apply(reply, stream, key, zone, fields, actual, now, late)
    local hold = { struct.unpack(HOLD, fields[4]) }
    local set, len, debt = {}, 0, 0

    for kind = 1, 3 do
        local need, id = hold[kind * 4 - 3], hold[kind * 4 - 2]
        local n, period = hold[kind * 4 - 1], hold[kind * 4]

        if period ~= 0 and (actual[kind] ~= -1 or period < 0) then
            local b = read(fields[kind])
            local is = actual[kind] == -1 and need or actual[kind]
            raise(reply, stream, key, zone, kind, b, n,
                  settle(b, n, period, id, need, is, now, late))
            set[len + 1], set[len + 2] = KINDS[kind], write(b)
            len = len + 2
            if period > 0 and b.used > n then
                debt = max(debt, n > 0 and reset(b, n, period, now) or DAY)
            end
        end
    end

    if len > 0 then
        call('HMSET', key, unpack(set))
    end

    -- a key that expires forgives a debt

    if debt > 0 then
        last(key, debt)
    end
end

-- requests, tokens, cost; and the hold, or false

local function fields(key, id)
    return call('HMGET', key, 'r', 't', 'c', id)
end
