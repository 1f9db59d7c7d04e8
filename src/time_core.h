/*-------------------------------------------------------------------------
 *
 * time_core.h
 *	  Reading times as RFC 3339 writes them.
 *
 * Pure: no PostgreSQL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_TIME_CORE_H
#define BIOLINK_TIME_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Read a date and time with an offset from UTC, such as
 * 2026-03-01T12:34:56.789+01:00, into microseconds since 1970.  A space for
 * the T and an offset without colon or minutes are taken, as PostgreSQL writes
 * them; digits beyond the sixth of a second are dropped.  False on anything
 * else, years before 1 and dates that do not exist included.
 */
extern bool rfc3339_parse(const char *text, size_t len, int64_t *unix_microseconds);

#endif							/* BIOLINK_TIME_CORE_H */
