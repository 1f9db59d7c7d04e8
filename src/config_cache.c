/*-------------------------------------------------------------------------
 *
 * config_cache.c
 *	  Creators, links and offers as the request path needs them, kept per
 *	  backend, and the time before which events are no longer kept.
 *
 * Owns three bounded caches, and that one time.
 *
 * Invariants:
 *	- A row is kept only if the table's change counter was the same before and
 *	  after it was read under the latest snapshot, and used only while the
 *	  counter stays: a change counts from the next statement, at every
 *	  isolation level.
 *	- That a creator or link does not exist is never remembered; that there is
 *	  no retention is, so its trigger tells of inserted rows too.
 *	- A cache that is full is emptied: what is hot comes back at once.
 *
 * What a function here returns stays valid until the same function is called
 * again.
 *
 *-------------------------------------------------------------------------
 */
#include "config_cache.h"

#include "house.h"
#include "request.h"

#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(valid_time_zone);

#define MAX_ENTRIES		4096
#define MAX_SLUG_BYTES	100

#define DEFAULT_SESSION_TTL		SECS_PER_DAY
#define DEFAULT_REDIRECT_TTL	(30 * SECS_PER_DAY)
#define DEFAULT_CLOCK_SKEW		(5 * SECS_PER_MINUTE)

typedef struct ConfigCache
{
	CachedTable table;
	const char *name;
	Size		keysize;
	Size		entrysize;
	MemoryContext context;
	HTAB	   *entries;
	uint64		generation;
} ConfigCache;

typedef struct CreatorEntry
{
	int64		creator_id;		/* key */
	CreatorConfig config;
} CreatorEntry;

typedef struct LinkKey
{
	int64		creator_id;
	char		slug[MAX_SLUG_BYTES + 4];	/* zero-padded */
} LinkKey;

typedef struct LinkEntry
{
	LinkKey		key;
	LinkConfig	config;
} LinkEntry;

typedef struct OffersKey
{
	int64		creator_id;
	int64		max_offers;
} OffersKey;

typedef struct OffersEntry
{
	OffersKey	key;
	Jsonb	   *offers;
} OffersEntry;

static ConfigCache creators = {CACHED_CREATOR, "biolink creators", sizeof(int64), sizeof(CreatorEntry), NULL, NULL, 0};
static ConfigCache links = {CACHED_LINK, "biolink links", sizeof(LinkKey), sizeof(LinkEntry), NULL, NULL, 0};
static ConfigCache offers = {CACHED_OFFER, "biolink offers", sizeof(OffersKey), sizeof(OffersEntry), NULL, NULL, 0};

static SavedPlan creator_plan = SAVED_PLAN(
	"SELECT c.hosts, c.time_zone,"
	" pg_catalog.date_part('epoch', (c.settings OPERATOR(pg_catalog.->>) 'session_token_ttl')::pg_catalog.interval)::pg_catalog.int8,"
	" pg_catalog.date_part('epoch', (c.settings OPERATOR(pg_catalog.->>) 'redirect_token_ttl')::pg_catalog.interval)::pg_catalog.int8,"
	" pg_catalog.date_part('epoch', (c.settings OPERATOR(pg_catalog.->>) 'clock_skew')::pg_catalog.interval)::pg_catalog.int8"
	" FROM biolink.creator AS c WHERE c.creator_id OPERATOR(pg_catalog.=) $1",
	"l");

static SavedPlan link_plan = SAVED_PLAN(
	"SELECT l.link_id, l.offer_id, l.campaign_id, l.active, l.url, l.token_param,"
	" l.token_form OPERATOR(pg_catalog.=) 'click_id',"
	" (SELECT pg_catalog.array_agg(e.part ORDER BY e.name, e.n)"
	"  FROM (SELECT u.key AS name, 1 AS n, u.key AS part FROM pg_catalog.jsonb_each_text(l.utm) AS u"
	"        UNION ALL SELECT u.key, 2, u.value FROM pg_catalog.jsonb_each_text(l.utm) AS u) AS e)"
	" FROM biolink.link AS l"
	" WHERE l.creator_id OPERATOR(pg_catalog.=) $1 AND l.slug OPERATOR(pg_catalog.=) $2",
	"lt");

static SavedPlan offers_plan = SAVED_PLAN(
	"SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object("
	"'rank', o.rank, 'offer_id', o.offer_id, 'name', o.name, 'price', o.price, 'currency', o.currency,"
	" 'link', o.slug, 'url', o.url, 'propensity', 1) ORDER BY o.rank), '[]')"
	" FROM (SELECT pg_catalog.row_number() OVER (ORDER BY f.sort_order, f.offer_id) AS rank, f.offer_id, f.name, f.price,"
	"   f.currency, f.url,"
	"   (SELECT l.slug FROM biolink.link AS l WHERE l.creator_id OPERATOR(pg_catalog.=) f.creator_id"
	"    AND l.offer_id OPERATOR(pg_catalog.=) f.offer_id AND l.active ORDER BY l.link_id LIMIT 1) AS slug"
	"  FROM biolink.offer AS f WHERE f.creator_id OPERATOR(pg_catalog.=) $1 AND f.active"
	"  ORDER BY f.sort_order, f.offer_id LIMIT $2) AS o",
	"ll");

static SavedPlan horizon_plan = SAVED_PLAN(
	"SELECT r.dropped_until FROM biolink.event_retention AS r",
	"");

/* cache_ready empties a cache that is full or whose table changed, and returns the counter it is good for. */
static uint64
cache_ready(ConfigCache *cache)
{
	uint64		generation = cached_table_generation(cache->table);

	if (cache->entries != NULL &&
		(cache->generation != generation ||
		 hash_get_num_entries(cache->entries) >= MAX_ENTRIES))
	{
		cache->entries = NULL;
		MemoryContextReset(cache->context);
	}
	if (cache->entries == NULL)
	{
		HASHCTL		control;

		if (cache->context == NULL)
			cache->context = AllocSetContextCreate(TopMemoryContext, "biolink configuration",
												   ALLOCSET_DEFAULT_SIZES);
		control.keysize = cache->keysize;
		control.entrysize = cache->entrysize;
		control.hcxt = cache->context;
		cache->entries = hash_create(cache->name, 64, &control,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		cache->generation = generation;
	}
	return generation;
}

/* copy_text copies a text Datum of the current row into the current context. */
static Slice
copy_text(Datum datum)
{
	text	   *value = DatumGetTextPP(datum);
	Slice		copy;
	char	   *data;

	copy.len = VARSIZE_ANY_EXHDR(value);
	data = palloc(copy.len + 1);
	memcpy(data, VARDATA_ANY(value), copy.len);
	data[copy.len] = '\0';
	copy.data = data;
	return copy;
}

/* column reads a column of the only row of the last query. */
static Datum
column(int number, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, number, isnull);
}

/* copy_texts copies an array of texts into the current context. */
static int
copy_texts(Datum array, Slice **texts)
{
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	int			kept = 0;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &count);
	*texts = palloc(sizeof(Slice) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		if (!nulls[i])
			(*texts)[kept++] = copy_text(elements[i]);
	}
	return kept;
}

/* creator_config gives a creator's configuration; NULL when there is no such creator. */
const CreatorConfig *
creator_config(int64 creator_id)
{
	uint64		generation = cache_ready(&creators);
	CreatorEntry *entry;

	entry = hash_search(creators.entries, &creator_id, HASH_FIND, NULL);
	if (entry != NULL)
		return &entry->config;

	for (;;)
	{
		OwnerScope	scope;
		Datum		values[1] = {Int64GetDatum(creator_id)};
		CreatorConfig config = {0};
		bool		isnull;
		Datum		datum;
		MemoryContext old;
		bool		known;

		owner_enter(&scope);
		known = plan_read_latest(&creator_plan, values, NULL) > 0;
		if (known)
		{
			old = MemoryContextSwitchTo(creators.context);
			config.creator_id = creator_id;
			datum = column(1, &isnull);
			config.nhosts = copy_texts(datum, &config.hosts);
			for (int i = 0; i < config.nhosts; i++)
				config.hosts[i].len = url_host_normal(config.hosts[i],
													  unconstify(char *, config.hosts[i].data));
			datum = column(2, &isnull);
			config.time_zone = pg_tzset(TextDatumGetCString(datum));
			datum = column(3, &isnull);
			config.session_token_ttl = isnull ? DEFAULT_SESSION_TTL : DatumGetInt64(datum);
			datum = column(4, &isnull);
			config.redirect_token_ttl = isnull ? DEFAULT_REDIRECT_TTL : DatumGetInt64(datum);
			datum = column(5, &isnull);
			config.clock_skew = (isnull ? DEFAULT_CLOCK_SKEW : DatumGetInt64(datum)) * USECS_PER_SEC;
			MemoryContextSwitchTo(old);
		}
		owner_leave(&scope);

		if (!known)
			return NULL;
		if (cached_table_generation(CACHED_CREATOR) != generation)
		{
			generation = cache_ready(&creators);
			continue;
		}
		entry = hash_search(creators.entries, &creator_id, HASH_ENTER, NULL);
		entry->config = config;
		return &entry->config;
	}
}

/* valid_time_zone tells whether a name is that of a time zone which creator_config() can load. */
Datum
valid_time_zone(PG_FUNCTION_ARGS)
{
	pg_tz	   *zone = pg_tzset(text_to_cstring(PG_GETARG_TEXT_PP(0)));

	PG_RETURN_BOOL(zone != NULL && pg_tz_acceptable(zone));
}

/* link_config gives a link's configuration; NULL when there is no such link. */
const LinkConfig *
link_config(int64 creator_id, Slice slug)
{
	uint64		generation;
	LinkKey		key;
	LinkEntry  *entry;

	if (slug.len == 0 || slug.len > MAX_SLUG_BYTES)
		return NULL;

	generation = cache_ready(&links);
	memset(&key, 0, sizeof(key));
	key.creator_id = creator_id;
	memcpy(key.slug, slug.data, slug.len);

	entry = hash_search(links.entries, &key, HASH_FIND, NULL);
	if (entry != NULL)
		return &entry->config;

	for (;;)
	{
		OwnerScope	scope;
		Datum		values[2] = {
			Int64GetDatum(creator_id),
			PointerGetDatum(cstring_to_text_with_len(slug.data, (int) slug.len))
		};
		LinkConfig	config = {0};
		bool		isnull;
		Datum		datum;
		MemoryContext old;
		bool		known;

		owner_enter(&scope);
		known = plan_read_latest(&link_plan, values, NULL) > 0;
		if (known)
		{
			old = MemoryContextSwitchTo(links.context);
			config.link_id = DatumGetInt64(column(1, &isnull));
			datum = column(2, &isnull);
			config.offer_id = isnull ? 0 : DatumGetInt64(datum);
			datum = column(3, &isnull);
			config.campaign_id = isnull ? 0 : DatumGetInt64(datum);
			config.active = DatumGetBool(column(4, &isnull));
			config.url = copy_text(column(5, &isnull));
			if (!url_split(config.url.data, config.url.len, &config.parts))
				elog(ERROR, "link %lld of creator %lld has an URL that cannot be split",
					 (long long) config.link_id, (long long) creator_id);
			datum = column(6, &isnull);
			config.token_param = isnull ? NO_SLICE : copy_text(datum);
			config.token_is_click_id = DatumGetBool(column(7, &isnull));
			datum = column(8, &isnull);
			if (!isnull)
			{
				Slice	   *parts;
				int			nparts = copy_texts(datum, &parts);

				config.nadditions = nparts / 2;
				config.additions = palloc(sizeof(UrlAddition) * Max(config.nadditions, 1));
				for (int i = 0; i < config.nadditions; i++)
				{
					config.additions[i].name = parts[2 * i];
					config.additions[i].value = parts[2 * i + 1];
				}
			}
			MemoryContextSwitchTo(old);
		}
		owner_leave(&scope);

		if (!known)
			return NULL;
		if (cached_table_generation(CACHED_LINK) != generation)
		{
			generation = cache_ready(&links);
			continue;
		}
		entry = hash_search(links.entries, &key, HASH_ENTER, NULL);
		entry->config = config;
		return &entry->config;
	}
}

/* offers_of gives the offers to show on a creator's page, in plain order, as a JSON array. */
Jsonb *
offers_of(int64 creator_id, int32 max_offers)
{
	uint64		generation = cache_ready(&offers);
	OffersKey	key = {creator_id, max_offers};
	OffersEntry *entry;

	entry = hash_search(offers.entries, &key, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->offers;

	for (;;)
	{
		OwnerScope	scope;
		Datum		values[2] = {Int64GetDatum(creator_id), Int64GetDatum((int64) max_offers)};
		Jsonb	   *list;
		bool		isnull;
		MemoryContext old;

		owner_enter(&scope);
		plan_read_latest(&offers_plan, values, NULL);
		old = MemoryContextSwitchTo(offers.context);
		list = DatumGetJsonbPCopy(column(1, &isnull));
		MemoryContextSwitchTo(old);
		owner_leave(&scope);

		if (cached_table_generation(CACHED_OFFER) != generation)
		{
			generation = cache_ready(&offers);
			continue;
		}
		entry = hash_search(offers.entries, &key, HASH_ENTER, NULL);
		entry->offers = list;
		return list;
	}
}

/* event_horizon gives the time before which events are gone, or going, and are refused; DT_NOBEGIN when there is none. */
TimestampTz
event_horizon(void)
{
	static TimestampTz horizon;
	static uint64 good_for;
	static bool known = false;
	uint64		generation = cached_table_generation(CACHED_EVENT_RETENTION);

	while (!known || good_for != generation)
	{
		OwnerScope	scope;
		bool		isnull;
		TimestampTz read = DT_NOBEGIN;

		owner_enter(&scope);
		if (plan_read_latest(&horizon_plan, NULL, NULL) > 0)
			read = DatumGetTimestampTz(column(1, &isnull));
		owner_leave(&scope);

		good_for = generation;
		generation = cached_table_generation(CACHED_EVENT_RETENTION);
		known = good_for == generation;
		horizon = read;
	}
	return horizon;
}
