/*-------------------------------------------------------------------------
 *
 * credit_core.c
 *	  Splitting an amount over the touches that earned it.
 *
 * Owns the attribution models and the rule for the last cent.
 *
 * Invariants:
 *	- Shares add up to the amount, exactly: weights are whole numbers, quotas
 *	  are taken in 128 bits, and the units left over go one each to the largest
 *	  remainders, ties to the earlier touch, then to the lower index.
 *	- The split of -x is the negated split of x.
 *	- A touch after its conversion gets nothing.
 *	- The result depends neither on the order in which touches are given (ties
 *	  apart) nor on the platform, but for time_decay and custom, whose weights
 *	  come from floating point, rounded to 40 bits.
 *
 *-------------------------------------------------------------------------
 */
#include "credit_core.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Weights worked out in floating point are rounded to this many units. */
#define WEIGHT_UNITS	((double) (UINT64_C(1) << 40))

/* credit_model_by_name finds a model; false for an unknown name. */
bool
credit_model_by_name(const char *name, CreditModel *model)
{
	static const struct
	{
		const char *name;
		CreditModel model;
	}			models[] = {
		{"first", CREDIT_FIRST},
		{"last", CREDIT_LAST},
		{"last_non_direct", CREDIT_LAST_NON_DIRECT},
		{"linear", CREDIT_LINEAR},
		{"position", CREDIT_POSITION},
		{"time_decay", CREDIT_TIME_DECAY},
		{"custom", CREDIT_CUSTOM},
	};

	for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++)
	{
		if (strcmp(models[i].name, name) == 0)
		{
			*model = models[i].model;
			return true;
		}
	}
	return false;
}

/* by_time orders touches by time, then by index. */
static int
by_time(const void *a, const void *b)
{
	const CreditTouch *x = a;
	const CreditTouch *y = b;

	if (x->touched_at != y->touched_at)
		return x->touched_at < y->touched_at ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

/* by_remainder orders touches by who gets a unit that is left over. */
static int
by_remainder(const void *a, const void *b)
{
	const CreditTouch *x = a;
	const CreditTouch *y = b;

	if (x->remainder != y->remainder)
		return x->remainder > y->remainder ? -1 : 1;
	return by_time(a, b);
}

/* weigh gives each of n eligible touches, in order of time, its weight. */
static void
weigh(CreditModel model, CreditTouch *touches, int n, double half_life)
{
	double		most = 0;

	for (int i = 0; i < n; i++)
		touches[i].weight = 0;

	switch (model)
	{
		case CREDIT_FIRST:
			touches[0].weight = 1;
			break;
		case CREDIT_LAST:
			touches[n - 1].weight = 1;
			break;
		case CREDIT_LAST_NON_DIRECT:
			{
				int			chosen = n - 1;

				for (int i = n - 1; i >= 0; i--)
				{
					if (!touches[i].direct)
					{
						chosen = i;
						break;
					}
				}
				touches[chosen].weight = 1;
				break;
			}
		case CREDIT_LINEAR:
			for (int i = 0; i < n; i++)
				touches[i].weight = 1;
			break;
		case CREDIT_POSITION:
			/* 40/20/40; in fifths of the n - 2 touches between */
			for (int i = 0; i < n; i++)
				touches[i].weight = 1;
			if (n > 2)
				touches[0].weight = touches[n - 1].weight = 2 * (uint64_t) (n - 2);
			break;
		case CREDIT_TIME_DECAY:
			/* relative to the latest touch, so that old paths do not underflow */
			for (int i = 0; i < n; i++)
			{
				double		age = (double) touches[n - 1].touched_at - (double) touches[i].touched_at;

				touches[i].weight = (uint64_t) floor(WEIGHT_UNITS * exp2(-age / half_life) + 0.5);
			}
			break;
		case CREDIT_CUSTOM:
			for (int i = 0; i < n; i++)
				most = touches[i].custom > most ? touches[i].custom : most;
			for (int i = 0; i < n && most > 0; i++)
				touches[i].weight = (uint64_t) floor(touches[i].custom / most * WEIGHT_UNITS + 0.5);
			break;
	}
}

/* credit_split is described in credit_core.h. */
bool
credit_split(CreditModel model, CreditTouch *touches, int ntouches,
			 int64_t converted_at, int64_t amount, double half_life,
			 int64_t *shares)
{
	uint64_t	whole = amount < 0 ? -(uint64_t) amount : (uint64_t) amount;
	uint64_t	left = whole;
	CreditProduct sum = 0;
	int			n = 0;

	for (int i = 0; i < ntouches; i++)
	{
		shares[i] = 0;
		touches[i].index = i;
	}
	for (int i = 0; i < ntouches; i++)
	{
		if (touches[i].touched_at <= converted_at)
			touches[n++] = touches[i];
	}
	if (n == 0)
		return false;

	qsort(touches, (size_t) n, sizeof(CreditTouch), by_time);
	weigh(model, touches, n, half_life);
	for (int i = 0; i < n; i++)
		sum += touches[i].weight;
	if (sum == 0)
		return false;

	for (int i = 0; i < n; i++)
	{
		CreditProduct product = (CreditProduct) whole * touches[i].weight;

		touches[i].share = (uint64_t) (product / sum);
		touches[i].remainder = product % sum;
		left -= touches[i].share;
	}
	if (left > 0)
	{
		/* fewer units are left than touches have a remainder */
		qsort(touches, (size_t) n, sizeof(CreditTouch), by_remainder);
		for (uint64_t i = 0; i < left; i++)
			touches[i].share++;
	}
	for (int i = 0; i < n; i++)
		shares[touches[i].index] = amount < 0 ? (int64_t) -touches[i].share : (int64_t) touches[i].share;
	return true;
}

/* credit_refunds: see credit_core.h. */
int64_t
credit_refunds(int64_t booked, int64_t gross, int64_t taken_back)
{
	if (taken_back <= 0 || gross >= booked)
		return taken_back;
	if (taken_back >= booked)
		return gross + (taken_back - booked);
	return (int64_t) (((__int128) 2 * taken_back * gross + booked) / ((__int128) 2 * booked));
}
