/*
 * date.h - days of the Gregorian calendar, UTC; no time zone is looked at, which is what gmtime(3) and
 * timegm(3) begin with. Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
 */
#ifndef ST_CORE_DATE_H
#define ST_CORE_DATE_H

#include <stdint.h>

struct st_date {
    int64_t year, month, day; /* month and day from 1 */
};

/* Days since 1970-01-01; a day that the month does not have counts on into the next. */
int64_t st_date_days(struct st_date d);
/* The inverse; days of before 1970 are negative. */
struct st_date st_date_of(int64_t days);

#endif
