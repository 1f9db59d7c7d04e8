/*-------------------------------------------------------------------------
 *
 * request.c
 *	  Reading the JSON objects that applications send, and the results that
 *	  go back to them.
 *
 * Owns the meaning of "wrong type or value": error 22023 that names the key.
 * JSON null counts as absent everywhere.
 *
 *-------------------------------------------------------------------------
 */
#include "request.h"

#include "house.h"
#include "mask_core.h"
#include "time_core.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

PG_FUNCTION_INFO_V1(mask_identifiers);

/* json_object_open starts reading; anything but an object is an error. */
void
json_object_open(JsonObject *object, Jsonb *jsonb, const char *what)
{
	if (!JB_ROOT_IS_OBJECT(jsonb))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a JSON object", what)));
	object->jsonb = jsonb;
	object->container = &jsonb->root;
	object->what = what;
	object->found = 0;
}

/* find_value looks a key up; NULL when absent or JSON null. */
static JsonbValue *
find_value(JsonObject *object, const char *key, JsonbValue *value)
{
	if (getKeyJsonValueFromContainer(object->container, key, (int) strlen(key), value) == NULL)
		return NULL;
	object->found++;
	return value->type == jbvNull ? NULL : value;
}

/* wrong_value raises 22023 for one key. */
pg_noreturn static void
wrong_value(const JsonObject *object, const char *key, const char *must)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("key \"%s\" of the %s must be %s", key, object->what, must)));
}

/* json_text reads a text of at most max_bytes; false when absent or empty. */
bool
json_text(JsonObject *object, const char *key, size_t max_bytes, Slice *value)
{
	JsonbValue	buffer;
	JsonbValue *found = find_value(object, key, &buffer);

	*value = NO_SLICE;
	if (found == NULL)
		return false;
	if (found->type != jbvString)
		wrong_value(object, key, "a text");
	if ((size_t) found->val.string.len > max_bytes)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" of the %s is too long", key, object->what),
				 errdetail("It has %d bytes, at most %zu are taken.",
						   found->val.string.len, max_bytes)));
	value->data = found->val.string.val;
	value->len = (size_t) found->val.string.len;
	return value->len > 0;
}

/* json_text_if reads a text of any length; false, with an empty one, when the value is there and no text. */
bool
json_text_if(JsonObject *object, const char *key, Slice *value)
{
	JsonbValue	buffer;
	JsonbValue *found = find_value(object, key, &buffer);

	*value = NO_SLICE;
	if (found == NULL)
		return true;
	if (found->type != jbvString)
		return false;
	value->data = found->val.string.val;
	value->len = (size_t) found->val.string.len;
	return true;
}

/* slice_cut cuts a text that is too long at the end of a character. */
Slice
slice_cut(Slice text, size_t max_bytes)
{
	if (text.len > max_bytes)
		text.len = (size_t) pg_mbcliplen(text.data, (int) text.len, (int) max_bytes);
	return text;
}

/*
 * json_text_cut reads a text that strangers write, such as a header: one that
 * is too long is cut, at a character's end, rather than refused.
 */
bool
json_text_cut(JsonObject *object, const char *key, size_t max_bytes, Slice *value)
{
	if (!json_text(object, key, ANY_LENGTH, value))
		return false;
	*value = slice_cut(*value, max_bytes);
	return true;
}

/* json_required_text reads a text that must be there and not be empty. */
Slice
json_required_text(JsonObject *object, const char *key, size_t max_bytes)
{
	Slice		value;

	if (!json_text(object, key, max_bytes, &value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" of the %s is missing", key, object->what)));
	return value;
}

/* json_bool reads a boolean; absent is false. */
bool
json_bool(JsonObject *object, const char *key)
{
	JsonbValue	buffer;
	JsonbValue *found = find_value(object, key, &buffer);

	if (found == NULL)
		return false;
	if (found->type != jbvBool)
		wrong_value(object, key, "true or false");
	return found->val.boolean;
}

/* json_int64 reads a whole number in a range; false when absent. */
bool
json_int64(JsonObject *object, const char *key, int64 least, int64 most, int64 *value)
{
	JsonbValue	buffer;
	JsonbValue *found = find_value(object, key, &buffer);
	char	   *text;
	char	   *end;

	if (found == NULL)
		return false;
	if (found->type != jbvNumeric)
		wrong_value(object, key, "a whole number");

	/* the number's text is its value in plain decimal digits */
	text = DatumGetCString(DirectFunctionCall1(numeric_out,
											   NumericGetDatum(found->val.numeric)));
	errno = 0;
	*value = strtoi64(text, &end, 10);
	if (*end == '.')
	{
		end++;
		end += strspn(end, "0");
	}
	if (*end != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" of the %s must be a whole number", key, object->what),
				 errdetail("It is %.40s.", text),
				 errhint("Amounts are minor units: cents, not euros.")));
	if (errno == ERANGE || *value < least || *value > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" of the %s is out of range", key, object->what),
				 errdetail("It is %.40s, not from %lld to %lld.", text,
						   (long long) least, (long long) most)));
	pfree(text);
	return true;
}

/* json_time reads an RFC 3339 time with an offset; false when absent. */
bool
json_time(JsonObject *object, const char *key, TimestampTz *value)
{
	Slice		text;
	int64		unix_microseconds;

	if (!json_text(object, key, 64, &text))
		return false;
	if (!rfc3339_parse(text.data, text.len, &unix_microseconds))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" of the %s must be a time", key, object->what),
				 errdetail("It is \"%.*s\".", (int) text.len, text.data),
				 errhint("Write it as in RFC 3339, with an offset: 2026-03-01T12:34:56.789+01:00.")));
	if (unix_microseconds < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" of the %s is before 1970", key, object->what),
				 errdetail("It is \"%.*s\".", (int) text.len, text.data)));
	*value = unix_microseconds - UNIX_EPOCH_OFFSET_SECS * USECS_PER_SEC;
	return true;
}

/* json_nested opens an object inside the object; false when absent. */
bool
json_nested(JsonObject *object, const char *key, JsonObject *value)
{
	JsonbValue	buffer;
	JsonbValue *found = find_value(object, key, &buffer);

	if (found == NULL)
		return false;
	if (found->type != jbvBinary || !JsonContainerIsObject(found->val.binary.data))
		wrong_value(object, key, "an object");
	value->jsonb = NULL;
	value->container = found->val.binary.data;
	value->what = object->what;
	value->found = 0;
	return true;
}

/* json_present notes a key whose value is not looked at. */
bool
json_present(JsonObject *object, const char *key)
{
	JsonbValue	buffer;

	return find_value(object, key, &buffer) != NULL;
}

/*
 * json_measurement_denied reads consent.measurement.  Nothing said leaves
 * measurement allowed; whatever is said and is not "granted" denies it.
 */
bool
json_measurement_denied(JsonObject *object)
{
	JsonbValue	buffer;
	JsonbValue *found = find_value(object, "consent", &buffer);
	JsonObject	consent = {.what = object->what};

	if (found == NULL)
		return false;
	if (found->type != jbvBinary || !JsonContainerIsObject(found->val.binary.data))
		return true;
	consent.container = found->val.binary.data;
	found = find_value(&consent, "measurement", &buffer);
	return found != NULL &&
		!(found->type == jbvString && found->val.string.len == 7 &&
		  memcmp(found->val.string.val, "granted", 7) == 0);
}

/* json_whole_if reads a whole number in a range; false, with 0, when the value is there and none. */
bool
json_whole_if(JsonObject *object, const char *key, int64 least, int64 most, bool *given, int64 *value)
{
	JsonbValue	buffer;
	JsonbValue *found = find_value(object, key, &buffer);
	char	   *text;
	char	   *end;

	*value = 0;
	*given = false;
	if (found == NULL)
		return true;
	if (found->type != jbvNumeric)
		return false;
	text = DatumGetCString(DirectFunctionCall1(numeric_out,
											   NumericGetDatum(found->val.numeric)));
	errno = 0;
	*value = strtoi64(text, &end, 10);
	*given = *end == '\0' && errno == 0 && *value >= least && *value <= most;
	if (!*given)
		*value = 0;
	return *given;
}

/* json_id_if reads an id; false, with 0, when the value is there and no id. */
bool
json_id_if(JsonObject *object, const char *key, int64 *value)
{
	bool		given;

	return json_whole_if(object, key, 1, MAX_OBJECT_ID, &given, value);
}

/* json_array_if finds an array, NULL when absent; false when the value is there and no array. */
bool
json_array_if(JsonObject *object, const char *key, JsonbContainer **array)
{
	JsonbValue	buffer;
	JsonbValue *found = find_value(object, key, &buffer);

	*array = NULL;
	if (found == NULL)
		return true;
	if (found->type != jbvBinary || !JsonContainerIsArray(found->val.binary.data))
		return false;
	*array = found->val.binary.data;
	return true;
}

/* json_texts_if reads an array of texts, none of them empty; false, with none, when the value is there and no such array. */
bool
json_texts_if(JsonObject *object, const char *key, int max_texts, size_t max_bytes, Slice **texts, int *ntexts)
{
	JsonbContainer *array;
	int			n;

	*texts = NULL;
	*ntexts = 0;
	if (!json_array_if(object, key, &array))
		return false;
	n = array == NULL ? 0 : (int) JsonContainerSize(array);
	if (n > max_texts)
		return false;
	*texts = palloc(Max(n, 1) * sizeof(Slice));
	for (int i = 0; i < n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, (uint32) i);

		if (element->type != jbvString || element->val.string.len == 0 || (size_t) element->val.string.len > max_bytes)
			return false;
		(*texts)[i] = (Slice) {element->val.string.val, (size_t) element->val.string.len};
	}
	*ntexts = n;
	return true;
}

/* mask_value masks a string value in place. */
static void
mask_value(JsonbValue *value)
{
	Slice		raw = {value->val.string.val, (size_t) value->val.string.len};
	size_t		len;
	char	   *masked = text_masked(raw, &len);

	value->val.string.val = masked;
	value->val.string.len = (int) len;
}

/*
 * copy_masked pushes what an iterator yields, from its current container on,
 * with texts and keys masked; keys of the outermost object that are listed in
 * known are left out.  Two keys that mask to the same text keep the last value.
 */
static JsonbValue *
copy_masked(JsonbContainer *container, const char *const *known, int nknown)
{
	JsonbParseState *state = NULL;
	JsonbIterator *iterator = JsonbIteratorInit(container);
	JsonbValue	value;
	JsonbIteratorToken token;
	JsonbValue *result = NULL;
	int			depth = 0;

	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		switch (token)
		{
			case WJB_BEGIN_ARRAY:
				depth++;
				result = pushJsonbValue(&state, token,
										value.val.array.rawScalar ? &value : NULL);
				break;
			case WJB_BEGIN_OBJECT:
				depth++;
				result = pushJsonbValue(&state, token, NULL);
				break;
			case WJB_END_ARRAY:
			case WJB_END_OBJECT:
				depth--;
				result = pushJsonbValue(&state, token, NULL);
				break;
			case WJB_KEY:
				if (depth == 1)
				{
					bool		skip = false;

					for (int i = 0; i < nknown && !skip; i++)
						skip = value.val.string.len == (int) strlen(known[i]) &&
							memcmp(value.val.string.val, known[i], value.val.string.len) == 0;
					if (skip)
					{
						/* the value as a whole, however deep */
						token = JsonbIteratorNext(&iterator, &value, true);
						break;
					}
				}
				mask_value(&value);
				result = pushJsonbValue(&state, token, &value);
				break;
			case WJB_VALUE:
			case WJB_ELEM:
				if (value.type == jbvString)
					mask_value(&value);
				result = pushJsonbValue(&state, token, &value);
				break;
			default:
				elog(ERROR, "unexpected JSON token %d", (int) token);
		}
	}
	return result;
}

/* json_unknown_keys gives what is left of an object without the known keys, masked; NULL when nothing is. */
Jsonb *
json_unknown_keys(const JsonObject *object, const char *const *known, int nknown)
{
	JsonbValue *value;

	if (object->found == (int) JsonContainerSize(object->container))
		return NULL;
	value = copy_masked(object->container, known, nknown);
	if (value->val.object.nPairs == 0)
		return NULL;
	return JsonbValueToJsonb(value);
}

/* jsonb_masked gives a copy of any JSON with its texts masked. */
Jsonb *
jsonb_masked(Jsonb *jsonb)
{
	JsonbValue *value = copy_masked(&jsonb->root, NULL, 0);

	return JsonbValueToJsonb(value);
}

/* mask_identifiers is jsonb_masked for SQL. */
Datum
mask_identifiers(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(jsonb_masked(PG_GETARG_JSONB_P(0)));
}

/* text_masked gives a palloc'd copy with addresses and numbers masked. */
char *
text_masked(Slice value, size_t *len)
{
	char	   *out = palloc(MASK_BOUND(value.len));
	char	   *scratch = palloc(MASK_BOUND(value.len));

	*len = mask_text(value.data, value.len, out, scratch);
	pfree(scratch);
	return out;
}

/* text_is_sensitive tells whether masking would change a text. */
bool
text_is_sensitive(Slice value)
{
	size_t		len;
	char	   *masked = text_masked(value, &len);
	bool		changed = len != value.len || memcmp(masked, value.data, len) != 0;

	pfree(masked);
	return changed;
}

/* uuid_parse reads 32 hexadecimal digits with or without the usual hyphens; false on anything else. */
bool
uuid_parse(Slice text, pg_uuid_t *uuid)
{
	int			nibbles = 0;

	if (text.len != 32 && text.len != 36)
		return false;
	for (size_t i = 0; i < text.len; i++)
	{
		char		c = text.data[i];
		int			digit;

		if (text.len == 36 && (i == 8 || i == 13 || i == 18 || i == 23))
		{
			if (c != '-')
				return false;
			continue;
		}
		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (c >= 'a' && c <= 'f')
			digit = c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			digit = c - 'A' + 10;
		else
			return false;
		if (nibbles % 2 == 0)
			uuid->data[nibbles / 2] = (unsigned char) (digit << 4);
		else
			uuid->data[nibbles / 2] |= (unsigned char) digit;
		nibbles++;
	}
	return true;
}

/* result_tuple forms the row that a function with OUT columns returns. */
HeapTuple
result_tuple(ResultShape *shape, FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	uint64		generation = house()->generation;

	if (shape->descriptor == NULL || shape->generation != generation)
	{
		TupleDesc	descriptor;
		MemoryContext old;

		if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		old = MemoryContextSwitchTo(TopMemoryContext);
		shape->descriptor = BlessTupleDesc(CreateTupleDescCopy(descriptor));
		shape->generation = generation;
		MemoryContextSwitchTo(old);
	}
	return heap_form_tuple(shape->descriptor, values, nulls);
}
