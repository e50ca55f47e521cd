/* date.c - see date.h. Years begin in March, so that a leap day is the last of its year. */
#include "core/date.h"

#define ERA_DAYS 146097 /* of 400 years */
#define TO_1970  719468 /* from 0000-03-01 */

static int64_t divide_down(int64_t a, int64_t b)
{
    return (a >= 0 ? a : a - b + 1) / b;
}

int64_t st_date_days(struct st_date d)
{
    int64_t year = d.year - (d.month <= 2), era = divide_down(year, 400);
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (d.month + (d.month > 2 ? -3 : 9)) + 2) / 5 + d.day - 1;
    return era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - TO_1970;
}

struct st_date st_date_of(int64_t days)
{
    int64_t era = divide_down(days + TO_1970, ERA_DAYS), in_era = days + TO_1970 - era * ERA_DAYS;
    int64_t of_era = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int64_t in_year = in_era - (365 * of_era + of_era / 4 - of_era / 100);
    int64_t mp = (5 * in_year + 2) / 153, month = mp < 10 ? mp + 3 : mp - 9;
    return (struct st_date){
        .year = of_era + era * 400 + (month <= 2),
        .month = month,
        .day = in_year - (153 * mp + 2) / 5 + 1,
    };
}
