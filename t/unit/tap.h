/*
 * tap.h: the little that a unit test of a codec needs to speak TAP.  Include
 * it once, in the file with main(), which ends with "return done_testing();".
 * A claim that fails names itself and what was got; the test goes on.
 */

#ifndef TAP_H_INCLUDED_
#define TAP_H_INCLUDED_


#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>


static unsigned  tap_run, tap_failed;


/* returns cond, so that a test may print more about what failed */

__attribute__((format(printf, 2, 3), unused)) static int
ok(int cond, const char *fmt, ...)
{
    va_list  args;

    tap_run++;
    tap_failed += !cond;

    printf("%sok %u - ", cond ? "" : "not ", tap_run);

    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);

    printf("\n");

    return cond;
}


__attribute__((unused)) static int
is_int(intmax_t got, intmax_t want, const char *name)
{
    if (!ok(got == want, "%s", name)) {
        printf("# got %jd, expected %jd\n", got, want);
        return 0;
    }

    return 1;
}


__attribute__((unused)) static int
is_str(const void *ptr, size_t len, const char *want, const char *name)
{
    if (!ok(len == strlen(want) && (len == 0 || memcmp(ptr, want, len) == 0),
            "%s", name))
    {
        printf("# got \"%.*s\", expected \"%s\"\n", (int) len,
               ptr ? (const char *) ptr : "", want);
        return 0;
    }

    return 1;
}


/* the exit status */

__attribute__((unused)) static int
done_testing(void)
{
    printf("1..%u\n", tap_run);

    if (tap_failed) {
        printf("# %u of %u failed\n", tap_failed, tap_run);
    }

    return tap_failed || tap_run == 0;
}


#endif /* TAP_H_INCLUDED_ */
