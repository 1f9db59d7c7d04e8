/*-------------------------------------------------------------------------
 *
 * time_core.c
 *	  Reading times as RFC 3339 writes them.
 *
 * Owns nothing.  The result depends on the text alone, not on a session's
 * DateStyle or time zone.
 *
 *-------------------------------------------------------------------------
 */
#include "time_core.h"

/* A text being read. */
typedef struct Cursor
{
	const char *at;
	const char *end;
} Cursor;

/* take_digits reads a number of exactly n digits; -1 when there are none. */
static int
take_digits(Cursor *cursor, int n)
{
	int			value = 0;

	if (cursor->end - cursor->at < n)
		return -1;
	for (int i = 0; i < n; i++)
	{
		char		c = *cursor->at++;

		if (c < '0' || c > '9')
			return -1;
		value = value * 10 + (c - '0');
	}
	return value;
}

/* take reads one of up to two characters; false when it is neither. */
static bool
take(Cursor *cursor, char either, char or)
{
	if (cursor->at < cursor->end && (*cursor->at == either || *cursor->at == or))
	{
		cursor->at++;
		return true;
	}
	return false;
}

/* is_leap tells a leap year of the Gregorian calendar. */
static bool
is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* days_before counts the days from 1970-01-01 to the first of January of a year. */
static int64_t
days_before(int year)
{
	int64_t		past = year - 1;

	return past * 365 + past / 4 - past / 100 + past / 400 - 719162;
}

/* rfc3339_parse is described in time_core.h. */
bool
rfc3339_parse(const char *text, size_t len, int64_t *unix_microseconds)
{
	static const int month_days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	Cursor		cursor = {text, text + len};
	int			year;
	int			month;
	int			day;
	int			hour;
	int			minute;
	int			second;
	int64_t		microseconds = 0;
	int64_t		days;
	int			offset = 0;

	year = take_digits(&cursor, 4);
	if (year < 1 || !take(&cursor, '-', '-'))
		return false;
	month = take_digits(&cursor, 2);
	if (month < 1 || month > 12 || !take(&cursor, '-', '-'))
		return false;
	day = take_digits(&cursor, 2);
	if (day < 1 || day > month_days[month - 1] + (month == 2 && is_leap(year)))
		return false;
	if (!take(&cursor, 'T', 't') && !take(&cursor, ' ', ' '))
		return false;
	hour = take_digits(&cursor, 2);
	if (hour < 0 || hour > 23 || !take(&cursor, ':', ':'))
		return false;
	minute = take_digits(&cursor, 2);
	if (minute < 0 || minute > 59 || !take(&cursor, ':', ':'))
		return false;
	/* a leap second counts as the first of the next minute */
	second = take_digits(&cursor, 2);
	if (second < 0 || second > 60)
		return false;

	if (take(&cursor, '.', '.'))
	{
		int			digits = 0;

		for (; cursor.at < cursor.end && *cursor.at >= '0' && *cursor.at <= '9'; cursor.at++, digits++)
		{
			if (digits < 6)
				microseconds = microseconds * 10 + (*cursor.at - '0');
		}
		if (digits == 0)
			return false;
		for (; digits < 6; digits++)
			microseconds *= 10;
	}

	if (!take(&cursor, 'Z', 'z'))
	{
		int			sign = cursor.at < cursor.end && *cursor.at == '-' ? -1 : 1;
		int			hours;
		int			minutes = 0;

		if (!take(&cursor, '+', '-'))
			return false;
		hours = take_digits(&cursor, 2);
		if (take(&cursor, ':', ':') || cursor.at < cursor.end)
			minutes = take_digits(&cursor, 2);
		if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
			return false;
		offset = sign * (hours * 60 + minutes) * 60;
	}
	if (cursor.at != cursor.end)
		return false;

	days = days_before(year) + day - 1;
	for (int i = 0; i < month - 1; i++)
		days += month_days[i];
	if (month > 2 && is_leap(year))
		days++;
	*unix_microseconds = ((days * 86400 + hour * 3600 + minute * 60 + second - offset) * INT64_C(1000000)) + microseconds;
	return true;
}
