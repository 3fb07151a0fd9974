/*
 * time.c: times of RFC 3339 are read in every form that it permits, others
 * are refused.
 */

#include <ngx_llm_time.h>

#include "tap.h"


typedef struct {
    const char  *text;
    int64_t      want;
} case_t;


static void good(void);
static void bad(void);


int
main(void)
{
    good();
    bad();

    return done_testing();
}


static void
good(void)
{
    size_t   i;
    int64_t  n;

    static const case_t  cases[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "2027-01-01T00:00:00Z", 1798761600 },
        { "2027-01-01t00:00:00z", 1798761600 },
        { "2027-01-01T00:00:00.5Z", 1798761600 },
        { "2027-01-01T00:00:00.999999999999999999999Z", 1798761600 },
        { "2027-01-01T01:00:00+01:00", 1798761600 },
        { "2026-12-31T16:00:00-08:00", 1798761600 },
        { "2027-01-01T05:30:00.25+05:30", 1798761600 },
        { "2027-01-01T00:00:00-00:00", 1798761600 },
        { "2024-02-29T12:00:00Z", 1709208000 },
        { "2000-02-29T00:00:00Z", 951782400 },
        { "2016-12-31T23:59:60Z", 1483228800 },
        { "1990-12-31T15:59:60-08:00", 662688000 },
        { "1969-12-31T23:59:59Z", -1 },
        { "0000-01-01T00:00:00Z", -62167219200 },
        { "9999-12-31T23:59:59Z", 253402300799 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ok(ngx_llm_time_read((const u_char *) cases[i].text,
                             strlen(cases[i].text), &n)
           == NGX_OK && n == cases[i].want,
           "%s is %lld seconds", cases[i].text, (long long) cases[i].want);
    }
}


static void
bad(void)
{
    size_t   i;
    int64_t  n;

    static const char  *cases[] = {
        "", "2027-01-01", "2027-01-01T00:00:00", "2027-01-01T00:00Z",
        "2027-01-01 00:00:00Z", "27-01-01T00:00:00Z", "2027-1-1T00:00:00Z",
        "2027-00-01T00:00:00Z", "2027-13-01T00:00:00Z",
        "2027-01-00T00:00:00Z", "2027-04-31T00:00:00Z",
        "2027-02-29T00:00:00Z", "2100-02-29T00:00:00Z",
        "2027-01-01T24:00:00Z", "2027-01-01T00:60:00Z",
        "2027-01-01T00:00:61Z", "2027-01-01T00:00:60Z",
        "2016-12-31T23:59:60+01:00",
        "2027-01-01T00:00:00.Z", "2027-01-01T00:00:00,5Z",
        "2027-01-01T00:00:00+01", "2027-01-01T00:00:00+0100",
        "2027-01-01T00:00:00+24:00", "2027-01-01T00:00:00+00:60",
        "2027-01-01T00:00:00UTC", "2027-01-01T00:00:00Z ",
        " 2027-01-01T00:00:00Z", "2027-01-01T00:00:00ZZ",
        "-027-01-01T00:00:00Z", "2027-01-01T+1:00:00Z"
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ok(ngx_llm_time_read((const u_char *) cases[i], strlen(cases[i]), &n)
           == NGX_ERROR, "\"%s\" is refused", cases[i]);
    }
}
