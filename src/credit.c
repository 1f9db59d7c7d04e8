/*-------------------------------------------------------------------------
 *
 * credit.c
 *	  biolink.credit() for SQL.
 *
 * Owns the checks of its arguments; the split itself is in credit_core.c.
 *
 *-------------------------------------------------------------------------
 */
#include "biolink.h"

#include "credit_core.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(credit);
PG_FUNCTION_INFO_V1(sale_refunds);

#define DEFAULT_HALF_LIFE	(INT64CONST(7) * USECS_PER_DAY)

/* array_argument reads a one-dimensional array without NULLs; -1 when it is NULL. */
static int
array_argument(FunctionCallInfo fcinfo, int number, const char *name,
			   Oid type, int16 length, bool by_value, char alignment, Datum **elements)
{
	ArrayType  *array;
	int			count;

	if (PG_ARGISNULL(number))
		return -1;
	array = PG_GETARG_ARRAYTYPE_P(number);
	if (ARR_NDIM(array) > 1 || array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be a one-dimensional array without nulls", name)));
	deconstruct_array(array, type, length, by_value, alignment, elements, NULL, &count);
	return count;
}

/* same_count raises 22023 when an array has another length than the touches. */
static void
same_count(int count, int ntouches, const char *name)
{
	if (count >= 0 && count != ntouches)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must have as many elements as \"touched_at\"", name),
				 errdetail("They have %d and %d.", count, ntouches)));
}

/* half_life_argument reads the half-life in microseconds. */
static double
half_life_argument(FunctionCallInfo fcinfo, int number)
{
	Interval   *interval;

	if (PG_ARGISNULL(number))
		return (double) DEFAULT_HALF_LIFE;
	interval = PG_GETARG_INTERVAL_P(number);
	if (interval->month != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"half_life\" must not be given in months or years"),
				 errhint("Months differ in length: write days or hours.")));
	if ((double) interval->time + (double) interval->day * USECS_PER_DAY <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"half_life\" must be positive")));
	return (double) interval->time + (double) interval->day * USECS_PER_DAY;
}

/* credit splits an amount over touches. */
Datum
credit(PG_FUNCTION_ARGS)
{
	char	   *model_name;
	CreditModel model;
	Datum	   *times;
	Datum	   *weights = NULL;
	Datum	   *direct = NULL;
	int			ntouches;
	TimestampTz converted_at;
	int64		amount;
	double		half_life;
	CreditTouch *touches;
	int64	   *shares;
	Datum	   *result;

	for (int i = 0; i < 4; i++)
	{
		if (PG_ARGISNULL(i))
			PG_RETURN_NULL();
	}

	model_name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (!credit_model_by_name(model_name, &model))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no attribution model \"%s\"", model_name),
				 errhint("Models are first, last, last_non_direct, linear, position, time_decay and custom.")));
	ntouches = array_argument(fcinfo, 1, "touched_at", TIMESTAMPTZOID, 8, true, TYPALIGN_DOUBLE, &times);
	converted_at = PG_GETARG_TIMESTAMPTZ(2);
	amount = PG_GETARG_INT64(3);
	half_life = half_life_argument(fcinfo, 4);
	same_count(array_argument(fcinfo, 5, "weights", FLOAT8OID, 8, true, TYPALIGN_DOUBLE, &weights),
			   ntouches, "weights");
	same_count(array_argument(fcinfo, 6, "direct", BOOLOID, 1, true, TYPALIGN_CHAR, &direct),
			   ntouches, "direct");
	if (model == CREDIT_CUSTOM && weights == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("model \"custom\" needs weights")));

	touches = palloc0(sizeof(CreditTouch) * Max(ntouches, 1));
	shares = palloc(sizeof(int64) * Max(ntouches, 1));
	for (int i = 0; i < ntouches; i++)
	{
		touches[i].touched_at = DatumGetTimestampTz(times[i]);
		if (TIMESTAMP_NOT_FINITE(touches[i].touched_at))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("argument \"touched_at\" must hold finite times")));
		touches[i].direct = direct != NULL && DatumGetBool(direct[i]);
		touches[i].custom = weights != NULL ? DatumGetFloat8(weights[i]) : 0;
		if (!(touches[i].custom >= 0) || isinf(touches[i].custom))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("argument \"weights\" must hold finite numbers of 0 or more")));
	}
	if (TIMESTAMP_NOT_FINITE(converted_at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"converted_at\" must be a finite time")));

	credit_split(model, touches, ntouches, converted_at, amount, half_life, shares);

	result = palloc(sizeof(Datum) * Max(ntouches, 1));
	for (int i = 0; i < ntouches; i++)
		result[i] = Int64GetDatum(shares[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(result, ntouches, INT8OID, 8, true, TYPALIGN_DOUBLE));
}

/* sale_refunds works out what refunds take from a sale's revenue, where that is less than what was paid. */
Datum
sale_refunds(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(credit_refunds(PG_GETARG_INT64(0), PG_GETARG_INT64(1), PG_GETARG_INT64(2)));
}
