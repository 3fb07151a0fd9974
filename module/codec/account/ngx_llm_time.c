/*
 * Reads times of RFC 3339.  The keys file has them; timegm() is not used, as
 * it accepts dates that do not exist.
 */


#include <ngx_llm_time.h>


#define NGX_LLM_TIME_DATE  (sizeof("2027-01-01T00:00:00") - 1)
#define NGX_LLM_TIME_DAY   86400


static ngx_int_t ngx_llm_time_digits(const u_char *p, size_t n, int64_t *value);
static ngx_int_t ngx_llm_time_offset(const u_char *p, const u_char *last,
    int64_t *seconds);
static int64_t ngx_llm_time_days(int64_t year, int64_t month, int64_t day);
static int64_t ngx_llm_time_month(int64_t year, int64_t month);


ngx_int_t
ngx_llm_time_read(const u_char *text, size_t len, int64_t *seconds)
{
    int64_t        year, month, day, hour, minute, second, offset;
    const u_char  *p, *last;

    if (len <= NGX_LLM_TIME_DATE
        || ngx_llm_time_digits(text, 4, &year) != NGX_OK || text[4] != '-'
        || ngx_llm_time_digits(text + 5, 2, &month) != NGX_OK || text[7] != '-'
        || ngx_llm_time_digits(text + 8, 2, &day) != NGX_OK
        || (text[10] | 0x20) != 't'
        || ngx_llm_time_digits(text + 11, 2, &hour) != NGX_OK
        || text[13] != ':'
        || ngx_llm_time_digits(text + 14, 2, &minute) != NGX_OK
        || text[16] != ':'
        || ngx_llm_time_digits(text + 17, 2, &second) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (month < 1 || month > 12 || day < 1
        || day > ngx_llm_time_month(year, month)
        || hour > 23 || minute > 59 || second > 60)
    {
        return NGX_ERROR;
    }

    p = text + NGX_LLM_TIME_DATE;
    last = text + len;

    if (*p == '.') {
        p++;

        if (p == last || *p < '0' || *p > '9') {
            return NGX_ERROR;
        }

        while (p < last && *p >= '0' && *p <= '9') {
            p++;
        }
    }

    if (ngx_llm_time_offset(p, last, &offset) != NGX_OK) {
        return NGX_ERROR;
    }

    *seconds = ngx_llm_time_days(year, month, day) * NGX_LLM_TIME_DAY
               + hour * 3600 + minute * 60 + second - offset;

    /* leap seconds are inserted at the end of a day of UTC only */

    return (second < 60 || *seconds % NGX_LLM_TIME_DAY == 0)
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_llm_time_digits(const u_char *p, size_t n, int64_t *value)
{
    *value = 0;

    for ( /* void */ ; n; n--, p++) {

        if (*p < '0' || *p > '9') {
            return NGX_ERROR;
        }

        *value = *value * 10 + (*p - '0');
    }

    return NGX_OK;
}


/* "Z" or "+HH:MM" up to last, in seconds east of UTC */

static ngx_int_t
ngx_llm_time_offset(const u_char *p, const u_char *last, int64_t *seconds)
{
    int64_t  hour, minute;

    if (last - p == 1 && (*p | 0x20) == 'z') {
        *seconds = 0;
        return NGX_OK;
    }

    if (last - p != sizeof("+00:00") - 1 || (*p != '+' && *p != '-')
        || ngx_llm_time_digits(p + 1, 2, &hour) != NGX_OK || p[3] != ':'
        || ngx_llm_time_digits(p + 4, 2, &minute) != NGX_OK
        || hour > 23 || minute > 59)
    {
        return NGX_ERROR;
    }

    *seconds = hour * 3600 + minute * 60;

    if (*p == '-') {
        *seconds = -*seconds;
    }

    return NGX_OK;
}


/* days from 1970-01-01, of the Gregorian calendar; year is 0 to 9999 */

static int64_t
ngx_llm_time_days(int64_t year, int64_t month, int64_t day)
{
    /* a year begins in March here, so that February 29 is its last day */

    if (month <= 2) {
        year--;
        month += 12;
    }

    year += 400;

    return 365 * year + year / 4 - year / 100 + year / 400
           + (153 * (month - 3) + 2) / 5 + day - 1
           - 719468 - 146097;
}


static int64_t
ngx_llm_time_month(int64_t year, int64_t month)
{
    if (month == 2) {
        return (year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)) ? 29
                                                                       : 28;
    }

    return (month == 4 || month == 6 || month == 9 || month == 11) ? 30 : 31;
}
