/*-------------------------------------------------------------------------
 *
 * idhash.c
 *	  The type biolink.idhash, and how an identifier becomes one.
 *
 * An idhash is the 16 byte keyed hash of a normalised identifier (email,
 * phone, cookie ...) of one creator.  It has a type of its own so that no
 * plain hash or address can be stored or compared in its place by mistake.
 *
 * Invariants:
 *	- 16 bytes, compared as bytes; the text form is 32 lower-case hexadecimal
 *	  digits.
 *	- Equal values hash equal, under PostgreSQL's own hash for index use only.
 *
 *-------------------------------------------------------------------------
 */
#include "biolink.h"

#include "common/hashfn.h"
#include "keys.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"

#define MAX_KIND_BYTES	63

PG_FUNCTION_INFO_V1(idhash_in);
PG_FUNCTION_INFO_V1(idhash_out);
PG_FUNCTION_INFO_V1(idhash_recv);
PG_FUNCTION_INFO_V1(idhash_send);
PG_FUNCTION_INFO_V1(idhash_eq);
PG_FUNCTION_INFO_V1(idhash_ne);
PG_FUNCTION_INFO_V1(idhash_lt);
PG_FUNCTION_INFO_V1(idhash_le);
PG_FUNCTION_INFO_V1(idhash_gt);
PG_FUNCTION_INFO_V1(idhash_ge);
PG_FUNCTION_INFO_V1(idhash_cmp);
PG_FUNCTION_INFO_V1(idhash_hash);
PG_FUNCTION_INFO_V1(idhash_hash_extended);
PG_FUNCTION_INFO_V1(identity_hash_sha256);

/* hex_value returns what a hexadecimal digit stands for, -1 for others. */
static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* idhash_in reads 32 hexadecimal digits. */
Datum
idhash_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	IdHash	   *result = palloc(sizeof(IdHash));
	bool		good = strlen(text) == 2 * IDHASH_BYTES;

	for (int i = 0; good && i < IDHASH_BYTES; i++)
	{
		int			high = hex_value(text[2 * i]);
		int			low = hex_value(text[2 * i + 1]);

		good = high >= 0 && low >= 0;
		result->data[i] = (uint8) (high << 4 | low);
	}
	/* the text is not repeated: it may be the very address that must not get about */
	if (!good)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s", "idhash"),
				 errdetail("An idhash is written as 32 hexadecimal digits.")));
	PG_RETURN_IDHASH_P(result);
}

/* idhash_out writes 32 lower-case hexadecimal digits. */
Datum
idhash_out(PG_FUNCTION_ARGS)
{
	static const char digits[] = "0123456789abcdef";
	IdHash	   *hash = PG_GETARG_IDHASH_P(0);
	char	   *text = palloc(2 * IDHASH_BYTES + 1);

	for (int i = 0; i < IDHASH_BYTES; i++)
	{
		text[2 * i] = digits[hash->data[i] >> 4];
		text[2 * i + 1] = digits[hash->data[i] & 0x0F];
	}
	text[2 * IDHASH_BYTES] = '\0';
	PG_RETURN_CSTRING(text);
}

/* idhash_recv takes exactly 16 bytes. */
Datum
idhash_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buffer = (StringInfo) PG_GETARG_POINTER(0);
	IdHash	   *result = palloc(sizeof(IdHash));

	if (buffer->len - buffer->cursor != IDHASH_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid length in external \"%s\" value", "idhash"),
				 errdetail("An idhash has 16 bytes.")));
	memcpy(result->data, pq_getmsgbytes(buffer, IDHASH_BYTES), IDHASH_BYTES);
	PG_RETURN_IDHASH_P(result);
}

/* idhash_send gives the 16 bytes. */
Datum
idhash_send(PG_FUNCTION_ARGS)
{
	IdHash	   *hash = PG_GETARG_IDHASH_P(0);
	StringInfoData buffer;

	pq_begintypsend(&buffer);
	pq_sendbytes(&buffer, (const char *) hash->data, IDHASH_BYTES);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buffer));
}

/* compare orders the first two arguments as bytes. */
static inline int
compare(FunctionCallInfo fcinfo)
{
	return memcmp(PG_GETARG_IDHASH_P(0)->data, PG_GETARG_IDHASH_P(1)->data,
				  IDHASH_BYTES);
}

/* idhash_eq is operator =. */
Datum
idhash_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) == 0);
}

/* idhash_ne is operator <>. */
Datum
idhash_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) != 0);
}

/* idhash_lt is operator <. */
Datum
idhash_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) < 0);
}

/* idhash_le is operator <=. */
Datum
idhash_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) <= 0);
}

/* idhash_gt is operator >. */
Datum
idhash_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) > 0);
}

/* idhash_ge is operator >=. */
Datum
idhash_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) >= 0);
}

/* idhash_cmp is the btree comparison. */
Datum
idhash_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare(fcinfo));
}

/* idhash_hash is the hash function of the hash operator class. */
Datum
idhash_hash(PG_FUNCTION_ARGS)
{
	return hash_any(PG_GETARG_IDHASH_P(0)->data, IDHASH_BYTES);
}

/* idhash_hash_extended is the same with a seed, for hash partitioning. */
Datum
idhash_hash_extended(PG_FUNCTION_ARGS)
{
	return hash_any_extended(PG_GETARG_IDHASH_P(0)->data, IDHASH_BYTES,
							 PG_GETARG_INT64(1));
}

/*
 * kind_is_sound tells whether a kind is written as kinds are: a misspelt
 * letter case would silently give another hash.
 */
static bool
kind_is_sound(const char *kind, int len)
{
	if (len < 1 || len > MAX_KIND_BYTES)
		return false;
	for (int i = 0; i < len; i++)
	{
		char		c = kind[i];

		if (!((c >= 'a' && c <= 'z') ||
			  (i > 0 && ((c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.'))))
			return false;
	}
	return true;
}

/*
 * identity_hash_sha256 is the SQL function of that name: the idhash of an
 * identifier of which only the SHA-256 (of its normalised form) is known.
 */
Datum
identity_hash_sha256(PG_FUNCTION_ARGS)
{
	int64		creator_id = PG_GETARG_INT64(0);
	text	   *kind = PG_GETARG_TEXT_PP(1);
	bytea	   *sha256 = PG_GETARG_BYTEA_PP(2);
	IdHash	   *result;
	uint16		epoch;
	const HashKey *key;

	if (!kind_is_sound(VARDATA_ANY(kind), (int) VARSIZE_ANY_EXHDR(kind)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid kind of identifier"),
				 errdetail("A kind has 1 to 63 of a-z, 0-9, \"_\", \"-\" and \".\", the first a letter.")));
	if (VARSIZE_ANY_EXHDR(sha256) != 32)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid length of a SHA-256 hash"),
				 errdetail("The hash has %d bytes, not 32.",
						   (int) VARSIZE_ANY_EXHDR(sha256))));

	key = hash_key_for_signing(creator_id, PURPOSE_IDENTITY, false, &epoch);
	result = palloc(sizeof(IdHash));
	derive_idhash(key, VARDATA_ANY(kind), VARSIZE_ANY_EXHDR(kind),
				  (const uint8 *) VARDATA_ANY(sha256), result->data);
	PG_RETURN_IDHASH_P(result);
}
