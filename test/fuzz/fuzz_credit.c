/*-------------------------------------------------------------------------
 *
 * fuzz_credit.c
 *	  Splits arbitrary amounts over arbitrary paths and checks that nothing is
 *	  made or lost.
 *
 *-------------------------------------------------------------------------
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "credit_core.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_TOUCHES		64

/* LLVMFuzzerTestOneInput reads a model, an amount, a half-life and touches of 17 bytes each. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CreditTouch touches[MAX_TOUCHES];
	CreditTouch again[MAX_TOUCHES];
	int64_t		shares[MAX_TOUCHES];
	int64_t		negated[MAX_TOUCHES];
	int64_t		amount;
	int64_t		converted_at;
	double		half_life;
	CreditModel model;
	int			n = 0;
	bool		split;
	__int128	sum = 0;

	if (size < 25)
		return 0;
	model = (CreditModel) (data[0] % (CREDIT_CUSTOM + 1));
	memcpy(&amount, data + 1, 8);
	memcpy(&converted_at, data + 9, 8);
	memcpy(&half_life, data + 17, 8);
	if (!(half_life > 0) || isinf(half_life))
		return 0;
	data += 25;
	size -= 25;
	memset(touches, 0, sizeof(touches));
	for (; size >= 17 && n < MAX_TOUCHES; size -= 17, data += 17, n++)
	{
		memcpy(&touches[n].touched_at, data, 8);
		/* times of PostgreSQL leave room for differences */
		touches[n].touched_at /= 4;
		memcpy(&touches[n].custom, data + 8, 8);
		if (!(touches[n].custom >= 0) || isinf(touches[n].custom))
			return 0;
		touches[n].direct = data[16] & 1;
	}
	memcpy(again, touches, sizeof(touches));

	split = credit_split(model, touches, n, converted_at / 4, amount, half_life, shares);
	for (int i = 0; i < n; i++)
	{
		sum += shares[i];
		if (again[i].touched_at > converted_at / 4 && shares[i] != 0)
			abort();
		if ((amount >= 0 && shares[i] < 0) || (amount <= 0 && shares[i] > 0))
			abort();
	}
	if (sum != (split ? amount : 0))
		abort();

	if (amount != INT64_MIN)
	{
		credit_split(model, again, n, converted_at / 4, -amount, half_life, negated);
		for (int i = 0; i < n; i++)
		{
			if (negated[i] != -shares[i])
				abort();
		}
	}
	return 0;
}
