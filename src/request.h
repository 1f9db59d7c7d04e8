/*-------------------------------------------------------------------------
 *
 * request.h
 *	  Reading the JSON objects that applications send, and the results that
 *	  go back to them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_REQUEST_H
#define BIOLINK_REQUEST_H

#include "biolink.h"
#include "url_core.h"

#include "access/htup.h"
#include "access/tupdesc.h"
#include "utils/jsonb.h"

/* A JSON object being read; found counts the keys that were asked for and there. */
typedef struct JsonObject
{
	Jsonb	   *jsonb;			/* what a Datum of it would hold; NULL when nested */
	JsonbContainer *container;
	const char *what;			/* "request" or "event", for messages */
	int			found;
} JsonObject;

extern void json_object_open(JsonObject *object, Jsonb *jsonb, const char *what);
extern bool json_text(JsonObject *object, const char *key, size_t max_bytes, Slice *value);
extern bool json_text_if(JsonObject *object, const char *key, Slice *value);
extern Slice slice_cut(Slice text, size_t max_bytes);
extern bool json_text_cut(JsonObject *object, const char *key, size_t max_bytes, Slice *value);
extern Slice json_required_text(JsonObject *object, const char *key, size_t max_bytes);
extern bool json_bool(JsonObject *object, const char *key);
extern bool json_int64(JsonObject *object, const char *key, int64 least, int64 most, int64 *value);
extern bool json_time(JsonObject *object, const char *key, TimestampTz *value);
extern bool json_nested(JsonObject *object, const char *key, JsonObject *value);
extern bool json_whole_if(JsonObject *object, const char *key, int64 least, int64 most, bool *given, int64 *value);
extern bool json_id_if(JsonObject *object, const char *key, int64 *value);
extern bool json_array_if(JsonObject *object, const char *key, JsonbContainer **array);
extern bool json_texts_if(JsonObject *object, const char *key, int max_texts, size_t max_bytes, Slice **texts, int *ntexts);
extern bool json_measurement_denied(JsonObject *object);
extern bool json_present(JsonObject *object, const char *key);
extern Jsonb *json_unknown_keys(const JsonObject *object, const char *const *known, int nknown);

extern Jsonb *jsonb_masked(Jsonb *jsonb);
extern char *text_masked(Slice value, size_t *len);
extern bool text_is_sensitive(Slice value);

extern bool uuid_parse(Slice text, pg_uuid_t *uuid);

#define SLICE_OF(cstring)	((Slice) {(cstring), strlen(cstring)})
#define NO_SLICE			((Slice) {NULL, 0})

/* No limit of length: the text is hashed or judged, not stored. */
#define ANY_LENGTH	((size_t) PG_INT32_MAX)

/* Is the slice exactly this constant text? */
static inline bool
slice_is(Slice slice, const char *text)
{
	return slice.len == strlen(text) && memcmp(slice.data, text, slice.len) == 0;
}

/* The descriptor of a C function's OUT columns, looked up once per backend. */
typedef struct ResultShape
{
	TupleDesc	descriptor;
	uint64		generation;
} ResultShape;

extern HeapTuple result_tuple(ResultShape *shape, FunctionCallInfo fcinfo,
							  Datum *values, bool *nulls);

#endif							/* BIOLINK_REQUEST_H */
