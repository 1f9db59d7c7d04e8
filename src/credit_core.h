/*-------------------------------------------------------------------------
 *
 * credit_core.h
 *	  Splitting an amount over the touches that earned it.
 *
 * Pure: no PostgreSQL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_CREDIT_CORE_H
#define BIOLINK_CREDIT_CORE_H

#include <stdbool.h>
#include <stdint.h>

/* 128 bits, aligned as an allocator that only promises 8 bytes aligns it */
typedef unsigned __int128 CreditProduct __attribute__((aligned(8)));

typedef enum CreditModel
{
	CREDIT_FIRST,
	CREDIT_LAST,
	CREDIT_LAST_NON_DIRECT,
	CREDIT_LINEAR,
	CREDIT_POSITION,
	CREDIT_TIME_DECAY,
	CREDIT_CUSTOM
} CreditModel;

/* One touch of a path; touches may come in any order. */
typedef struct CreditTouch
{
	int64_t		touched_at;		/* any unit, the same as half_life's */
	bool		direct;
	double		custom;			/* weight of CREDIT_CUSTOM: finite, not negative */

	/* worked out */
	int			index;
	uint64_t	weight;
	uint64_t	share;			/* of the absolute amount */
	CreditProduct remainder;
} CreditTouch;

extern bool credit_model_by_name(const char *name, CreditModel *model);

/*
 * Work out the share of every touch at or before converted_at; shares[i]
 * belongs to touches[i] as it was given.  The shares add up to amount
 * unless no touch is eligible, or CREDIT_CUSTOM gives every eligible touch
 * the weight 0: then all are 0 and the result is false.  The order of
 * touches is changed.
 */
extern bool credit_split(CreditModel model, CreditTouch *touches, int ntouches,
						 int64_t converted_at, int64_t amount, double half_life,
						 int64_t *shares);

/*
 * What refunds take from a sale's revenue of gross out of booked: the same part
 * as of what was paid, rounded half up, and what goes beyond it in full.
 */
extern int64_t credit_refunds(int64_t booked, int64_t gross, int64_t taken_back);

#endif							/* BIOLINK_CREDIT_CORE_H */
