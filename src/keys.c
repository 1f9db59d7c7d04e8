/*-------------------------------------------------------------------------
 *
 * keys.c
 *	  The root key, the keys derived from it, and the states of their epochs.
 *
 * Owns the two settings that say where the root keys are, the making of the
 * first one, the tables biolink.root_key (fingerprints of the root keys this
 * database was used with) and biolink.key_epoch (states of derived keys), and
 * the per-backend copies of all of them.
 *
 * A root file has one line for each generation of the root key, the newest
 * last; line n is generation n for ever.  What is derived from a generation
 * is an epoch of a purpose of a creator.  Epoch 1 needs no row: without one
 * it is active, under the first line.
 *
 * Invariants:
 *	- Key material is only ever in memory of sodium_malloc() (locked, guarded,
 *	  left out of core dumps), made after fork, or for the length of a call on
 *	  the stack; never in an error, a log line or the database.
 *	- Signing never goes on under a root key other than the recorded one:
 *	  nothing signed or hashed then could be found again.
 *	- A key is only made (in the data directory) by a call that is going to
 *	  write, where the database has recorded none, and never twice: link(2)
 *	  fails for the second, who then reads the first one's.
 *	- A fingerprint is recorded by a call that has just found the key where it
 *	  is kept: one that only this backend's memory still has is lost.
 *	- Cached keys are those of epochs that were not revoked in the newest
 *	  snapshot, and are dropped with the first invalidation of key_epoch.
 *	- What was learnt from rows that the current transaction may have written
 *	  itself is forgotten when it, or a part of it, aborts.
 *
 *-------------------------------------------------------------------------
 */
#include "keys.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "common/file_utils.h"
#include "funcapi.h"
#include "house.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#define MADE_FILE_NAME		"biolink.key"

#define ROOT_LINE_DIGITS	(2 * ROOT_KEY_BYTES)
#define FINGERPRINT_DIGITS	(2 * FINGERPRINT_BYTES)
#define MAX_GENERATIONS		32

/* room for the greatest file, CR and LF on each line, and one byte that shows that it is greater */
#define MAX_FILE_BYTES		(MAX_GENERATIONS * (ROOT_LINE_DIGITS + 2))

/* Sets of four entries; a key may be in one set only. */
#define WAYS				4
#define SIGNING_SETS		32
#define VERIFIED_SETS		128

/* A command that failed is not run again for verifying before this has passed. */
#define COMMAND_PAUSE_MS	1000

/* The root keys in hand; lives in locked memory. */
typedef struct RootKeys
{
	int			count;
	struct
	{
		uint8		key[ROOT_KEY_BYTES];
		uint8		fingerprint[FINGERPRINT_BYTES];
	}			generation[MAX_GENERATIONS];
} RootKeys;

/* A derived key; lives in locked memory. */
typedef struct KeyEntry
{
	int64		creator_id;
	uint16		epoch;
	uint8		purpose;
	bool		used;
	bool		hash_ready;		/* made.hash_key is filled in */
	bool		public_ready;	/* made.public_key is: key is a seed */
	uint8		key[SUBKEY_BYTES];
	union
	{
		HashKey		hash_key;
		uint8		public_key[PUBLIC_KEY_BYTES];
	}			made;			/* from key, once it was asked for */
} KeyEntry;

/* The derived keys in hand; lives in locked memory. */
typedef struct KeyCache
{
	KeyEntry	signing[SIGNING_SETS * WAYS];
	KeyEntry	verified[VERIFIED_SETS * WAYS];
	KeyEntry	pending;		/* given for verifying, not yet known to be of use */
} KeyCache;

typedef enum RootSource
{
	SOURCE_COMMAND,
	SOURCE_FILE,
	SOURCE_MADE
} RootSource;

/* Why the root keys cannot be used, for an error, a warning or key_status(). */
typedef struct Trouble
{
	const char *message;
	const char *detail;
	const char *hint;
	bool		absent;			/* there is no key yet, nor should there be one */
} Trouble;

/* A row of biolink.root_key. */
typedef struct RecordedRoot
{
	int			generation;
	char		fingerprint[FINGERPRINT_DIGITS + 1];
} RecordedRoot;

/* A row of biolink.key_epoch. */
typedef struct EpochRow
{
	int			epoch;
	KeyState	state;			/* KEY_OK for active and retiring */
	bool		active;
	char		root_fingerprint[FINGERPRINT_DIGITS + 1];	/* empty: first line */
} EpochRow;

/* never NULL once keys_init() has run */
static char *root_key_command = NULL;
static char *root_key_file = NULL;

static RootKeys *roots = NULL;
static KeyCache *cache = NULL;
static uint64 cache_generation = 0;
static uint64 pending_generation = 0;
static unsigned int next_victim = 0;

/* What this backend knows of the root keys. */
static struct
{
	int			pid;			/* locked memory is not locked in a child */
	bool		loaded;			/* roots holds what the source gave */
	bool		matched;		/* and none differs from what is recorded */
	bool		anchored;		/* and the first one is recorded */
	bool		recorded;		/* and so are the others */
	bool		provisional;	/* learnt so in a transaction still open */
	bool		warned;			/* one warning for each load is enough */
	TimestampTz reload_time;	/* configuration it was loaded under */
	TimestampTz command_failed_at;
	uint64		house_generation;
}			known;

static SavedPlan plan_recorded_roots =
SAVED_PLAN("SELECT generation, fingerprint FROM biolink.root_key"
		   " ORDER BY generation", "");

static SavedPlan plan_record_root =
SAVED_PLAN("INSERT INTO biolink.root_key (generation, fingerprint)"
		   " VALUES ($1, $2) ON CONFLICT DO NOTHING", "it");

static SavedPlan plan_one_epoch =
SAVED_PLAN("SELECT epoch, state, root_fingerprint FROM biolink.key_epoch"
		   " WHERE creator_id OPERATOR(pg_catalog.=) $1"
		   " AND purpose OPERATOR(pg_catalog.=) $2"
		   " AND epoch OPERATOR(pg_catalog.=) $3", "lti");

static SavedPlan plan_signing_epoch =
SAVED_PLAN("SELECT epoch, state, root_fingerprint FROM biolink.key_epoch"
		   " WHERE creator_id OPERATOR(pg_catalog.=) $1"
		   " AND purpose OPERATOR(pg_catalog.=) $2"
		   " AND (epoch OPERATOR(pg_catalog.=) 1"
		   " OR state OPERATOR(pg_catalog.=) 'active')"
		   " ORDER BY epoch DESC LIMIT 1", "lt");

PG_FUNCTION_INFO_V1(key_status);

/* key_wipe overwrites key material, also where the compiler sees no use in it. */
void
key_wipe(void *data, size_t len)
{
	sodium_memzero(data, len);
}

/*
 * Locked memory
 */

/* locked_alloc returns zeroed memory that is neither swapped nor dumped. */
static void *
locked_alloc(size_t size)
{
	void	   *memory = sodium_malloc(size);

	if (memory == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Could not allocate %zu bytes of locked memory for keys.",
						   size)));
	memset(memory, 0, size);
	return memory;
}

/* wipe_cache forgets all derived keys. */
static void
wipe_cache(void)
{
	if (cache != NULL)
		sodium_memzero(cache, sizeof(*cache));
}

/* wipe_all forgets all keys and what was known of them. */
static void
wipe_all(void)
{
	wipe_cache();
	if (roots != NULL)
		sodium_memzero(roots, sizeof(*roots));
	known.loaded = false;
	known.matched = false;
	known.provisional = false;
}

/*
 * own_memory makes sure that both areas exist and were made by this very
 * process: a fork inherits the bytes, but not the lock on them.
 */
static void
own_memory(void)
{
	if (known.pid != MyProcPid)
	{
		/* sodium_free() overwrites what it frees */
		sodium_free(roots);
		sodium_free(cache);
		roots = NULL;
		cache = NULL;
		memset(&known, 0, sizeof(known));
		known.pid = MyProcPid;
	}
	if (roots == NULL)
		roots = locked_alloc(sizeof(*roots));
	if (cache == NULL)
		cache = locked_alloc(sizeof(*cache));
}

/*
 * Reading the root file
 */

/* set_trouble fills in what goes wrong; always returns false. */
static bool
set_trouble(Trouble *trouble, const char *message, const char *detail,
			const char *hint)
{
	trouble->message = message;
	trouble->detail = detail;
	trouble->hint = hint;
	trouble->absent = false;
	return false;
}

/* root_source tells where the root keys are, with the path where it is a file. */
static RootSource
root_source(char path[MAXPGPATH])
{
	path[0] = '\0';
	if (root_key_command[0] != '\0')
		return SOURCE_COMMAND;
	if (root_key_file[0] != '\0')
	{
		if (is_absolute_path(root_key_file))
			strlcpy(path, root_key_file, MAXPGPATH);
		else
			snprintf(path, MAXPGPATH, "%s/%s", DataDir, root_key_file);
		return SOURCE_FILE;
	}
	snprintf(path, MAXPGPATH, "%s/%s", DataDir, MADE_FILE_NAME);
	return SOURCE_MADE;
}

/* source_name describes the source for messages. */
static char *
source_name(RootSource source, const char *path)
{
	if (source == SOURCE_COMMAND)
		return pstrdup("the output of biolink.root_key_command");
	return psprintf("file \"%s\"", path);
}

/*
 * parse_root_lines reads the lines of a root file into result.  Details name
 * lines and never quote them.
 */
static bool
parse_root_lines(const char *text, size_t len, const char *name,
				 RootKeys *result, Trouble *trouble)
{
	static const char message[] = "biolink root key is malformed";
	static const char hint[] =
		"Each line must hold one root key as 64 hexadecimal digits, the newest on the last line.";
	size_t		at = 0;

	result->count = 0;
	if (len == 0)
		return set_trouble(trouble, message,
						   psprintf("There is nothing in %s.", name), hint);

	while (at < len)
	{
		const char *line = text + at;
		const char *end = memchr(line, '\n', len - at);
		size_t		line_len = end != NULL ? (size_t) (end - line) : len - at;
		size_t		key_len = 0;
		int			n = result->count;

		at += line_len + 1;
		if (line_len > 0 && line[line_len - 1] == '\r')
			line_len--;

		if (n >= MAX_GENERATIONS)
			return set_trouble(trouble, message,
							   psprintf("There are more than %d lines in %s.",
										MAX_GENERATIONS, name), hint);
		if (line_len != ROOT_LINE_DIGITS)
			return set_trouble(trouble, message,
							   psprintf("Line %d of %s has %zu characters instead of %d.",
										n + 1, name, line_len, ROOT_LINE_DIGITS),
							   hint);
		if (sodium_hex2bin(result->generation[n].key, ROOT_KEY_BYTES,
						   line, line_len, NULL, &key_len, NULL) != 0 ||
			key_len != ROOT_KEY_BYTES)
			return set_trouble(trouble, message,
							   psprintf("Line %d of %s has characters other than hexadecimal digits.",
										n + 1, name), hint);

		derive_fingerprint(result->generation[n].key,
						   result->generation[n].fingerprint);
		for (int i = 0; i < n; i++)
		{
			if (memcmp(result->generation[i].fingerprint,
					   result->generation[n].fingerprint,
					   FINGERPRINT_BYTES) == 0)
				return set_trouble(trouble, message,
								   psprintf("Line %d of %s repeats line %d.",
											n + 1, name, i + 1), hint);
		}
		result->count++;
	}
	return true;
}

/* read_all reads a descriptor to its end, or until size; -1 with errno on failure. */
static ssize_t
read_all(int fd, char *buffer, size_t size)
{
	size_t		len = 0;

	while (len < size)
	{
		ssize_t		got = read(fd, buffer + len, size - len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		len += (size_t) got;
	}
	return (ssize_t) len;
}

/* open_root_file opens a root file that nobody but the server's user may read. */
static int
open_root_file(RootSource source, const char *path, Trouble *trouble)
{
	/* O_NONBLOCK: a pipe without a writer must be refused, not waited for */
	int			fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);
	struct stat st;

	if (fd < 0)
	{
		bool		missing = errno == ENOENT;

		(void) set_trouble(trouble,
						   missing ? "biolink root key is missing"
						   : "biolink root key cannot be read",
						   psprintf("Could not open file \"%s\": %s.",
									path, strerror(errno)),
						   source == SOURCE_MADE
						   ? "Put the file back, or set biolink.root_key_file or biolink.root_key_command to where the key is."
						   : "Put the file there, or correct biolink.root_key_file.");
		trouble->absent = missing && source == SOURCE_MADE;
		return -1;
	}

	if (fstat(fd, &st) != 0)
		(void) set_trouble(trouble, "biolink root key cannot be read",
						   psprintf("Could not stat file \"%s\": %s.",
									path, strerror(errno)), NULL);
	else if (!S_ISREG(st.st_mode))
		(void) set_trouble(trouble, "biolink root key cannot be read",
						   psprintf("\"%s\" is not a regular file.", path),
						   "To read the key from elsewhere, use biolink.root_key_command.");
	else if (st.st_uid != geteuid())
		(void) set_trouble(trouble, "biolink root key is not safe",
						   psprintf("File \"%s\" does not belong to the user the server runs as.",
									path),
						   "Change its owner.");
	else if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		(void) set_trouble(trouble, "biolink root key is not safe",
						   psprintf("File \"%s\" has group or world access (mode %04o).",
									path, (unsigned int) (st.st_mode & 07777)),
						   "Its permissions should be u=rw (0600) or less.");
	else
		return fd;

	(void) CloseTransientFile(fd);
	return -1;
}

/*
 * read_roots fills *roots from the source.  Whatever goes wrong is told in
 * *trouble, for the caller to raise or not; *roots is empty then.
 */
static bool
read_roots(Trouble *trouble)
{
	char		path[MAXPGPATH];
	RootSource	source = root_source(path);
	char	   *name = source_name(source, path);
	char	   *buffer;
	ssize_t		len;
	bool		good;

	sodium_memzero(roots, sizeof(*roots));

	if (source == SOURCE_COMMAND)
	{
		FILE	   *pipe = OpenPipeStream(root_key_command, "r");
		int			status;

		if (pipe == NULL)
		{
			known.command_failed_at = GetCurrentTimestamp();
			return set_trouble(trouble, "biolink root key cannot be read",
							   psprintf("Could not run biolink.root_key_command: %s.",
										strerror(errno)), NULL);
		}

		/* past stdio, which would keep a copy in its own buffer */
		buffer = locked_alloc(MAX_FILE_BYTES + 1);
		len = read_all(fileno(pipe), buffer, MAX_FILE_BYTES + 1);
		status = ClosePipeStream(pipe);

		/* a command of which not all was read may have failed for that */
		if (len < 0 || (status != 0 && len <= MAX_FILE_BYTES))
		{
			sodium_free(buffer);
			known.command_failed_at = GetCurrentTimestamp();
			return set_trouble(trouble, "biolink root key cannot be read",
							   psprintf("biolink.root_key_command failed: %s.",
										status != 0 && status != -1
										? wait_result_to_str(status)
										: "its output could not be read"),
							   "The command must print the root keys and exit with 0.");
		}
	}
	else
	{
		int			fd = open_root_file(source, path, trouble);

		if (fd < 0)
			return false;
		buffer = locked_alloc(MAX_FILE_BYTES + 1);
		len = read_all(fd, buffer, MAX_FILE_BYTES + 1);
		if (len < 0)
		{
			(void) set_trouble(trouble, "biolink root key cannot be read",
							   psprintf("Could not read file \"%s\": %s.",
										path, strerror(errno)), NULL);
			(void) CloseTransientFile(fd);
			sodium_free(buffer);
			return false;
		}
		(void) CloseTransientFile(fd);
	}

	good = parse_root_lines(buffer, (size_t) len, name, roots, trouble);
	sodium_free(buffer);
	if (!good)
	{
		sodium_memzero(roots, sizeof(*roots));
		if (source == SOURCE_COMMAND)
			known.command_failed_at = GetCurrentTimestamp();
	}
	return good;
}

/* fail_making raises what went wrong while a key was made, the half-made file gone. */
static void
fail_making(const char *what, const char *path, const char *unlink_path)
{
	int			saved_errno = errno;

	if (unlink_path != NULL)
		(void) unlink(unlink_path);
	errno = saved_errno;
	ereport(ERROR,
			(errcode_for_file_access(),
			 errmsg("could not make a biolink root key"),
			 errdetail("Could not %s file \"%s\": %m.", what, path),
			 errhint("Make a root key yourself and set biolink.root_key_file to where it is.")));
}

/*
 * make_root_file puts a new root key into the data directory, whole or not at
 * all, and leaves a key that is there already.
 */
static void
make_root_file(const char *path)
{
	char		directory[MAXPGPATH];
	char		temporary[MAXPGPATH];
	uint8	   *key;
	char	   *line;
	int			fd;
	bool		written;
	bool		made = true;

	/*
	 * Base backups and pg_rewind leave out what is here, and a crash leaves
	 * nothing behind: the postmaster clears it before it goes on.
	 */
	snprintf(directory, MAXPGPATH, "%s/base/%s", DataDir, PG_TEMP_FILES_DIR);
	snprintf(temporary, MAXPGPATH, "%s/%s_%s.%d",
			 directory, PG_TEMP_FILE_PREFIX, MADE_FILE_NAME, MyProcPid);
	if (MakePGDirectory(directory) != 0 && errno != EEXIST)
		fail_making("create", directory, NULL);
	if (unlink(temporary) != 0 && errno != ENOENT)
		fail_making("remove", temporary, NULL);
	fd = OpenTransientFilePerm(temporary, O_WRONLY | O_CREAT | O_EXCL | PG_BINARY,
							   S_IRUSR | S_IWUSR);
	if (fd < 0)
		fail_making("create", temporary, NULL);

	key = locked_alloc(ROOT_KEY_BYTES);
	line = locked_alloc(ROOT_LINE_DIGITS + 2);
	if (!pg_strong_random(key, ROOT_KEY_BYTES))
	{
		sodium_free(key);
		sodium_free(line);
		(void) unlink(temporary);
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	}
	sodium_bin2hex(line, ROOT_LINE_DIGITS + 1, key, ROOT_KEY_BYTES);
	line[ROOT_LINE_DIGITS] = '\n';
	errno = 0;
	written = write(fd, line, ROOT_LINE_DIGITS + 1) == ROOT_LINE_DIGITS + 1;
	if (!written && errno == 0)
		errno = ENOSPC;
	sodium_free(key);
	sodium_free(line);

	if (!written)
		fail_making("write", temporary, temporary);
	if (pg_fsync(fd) != 0)
		fail_making("sync", temporary, temporary);
	if (CloseTransientFile(fd) != 0)
		fail_making("close", temporary, temporary);

	/* unlike rename(2), link(2) never replaces a key that someone else made */
	if (link(temporary, path) != 0)
	{
		if (errno != EEXIST)
			fail_making("create", path, temporary);
		made = false;
	}
	if (unlink(temporary) != 0)
		fail_making("remove", temporary, NULL);
	fsync_fname(DataDir, true);

	if (made)
		ereport(NOTICE,
				(errmsg("made a biolink root key in file \"%s\"", path),
				 errhint("Move it to a safe place outside the data directory and set biolink.root_key_file to it: pg_upgrade, pg_rewind and standbys made earlier lose it here.")));
}

/*
 * Fingerprints
 */

/* fingerprint_text writes a fingerprint in hexadecimal. */
static void
fingerprint_text(const uint8 fingerprint[FINGERPRINT_BYTES],
				 char text[FINGERPRINT_DIGITS + 1])
{
	sodium_bin2hex(text, FINGERPRINT_DIGITS + 1, fingerprint, FINGERPRINT_BYTES);
}

/* copy_column copies a text column of the current SPI result; empty for NULL. */
static void
copy_column(HeapTuple tuple, int column, char *out, size_t size)
{
	bool		isnull;
	Datum		value = SPI_getbinval(tuple, SPI_tuptable->tupdesc, column, &isnull);

	if (isnull)
		out[0] = '\0';
	else
		text_to_cstring_buffer(DatumGetTextPP(value), out, size);
}

/* recorded_roots reads biolink.root_key; returns the number of rows. */
static int
recorded_roots(RecordedRoot result[MAX_GENERATIONS])
{
	OwnerScope	scope;
	int			n;

	owner_enter(&scope);
	n = (int) Min(plan_read_latest(&plan_recorded_roots, NULL, NULL),
				  MAX_GENERATIONS);
	for (int i = 0; i < n; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		bool		isnull;

		result[i].generation =
			DatumGetInt32(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
		copy_column(tuple, 2, result[i].fingerprint, FINGERPRINT_DIGITS + 1);
	}
	owner_leave(&scope);
	return n;
}

/* recorded_as returns the fingerprint recorded for a generation, NULL for none. */
static const char *
recorded_as(const RecordedRoot *recorded, int nrecorded, int generation)
{
	for (int i = 0; i < nrecorded; i++)
	{
		if (recorded[i].generation == generation)
			return recorded[i].fingerprint;
	}
	return NULL;
}

/* match_roots compares the keys in hand with the recorded fingerprints. */
static bool
match_roots(const RecordedRoot *recorded, int nrecorded, Trouble *trouble)
{
	for (int i = 0; i < nrecorded; i++)
	{
		int			generation = recorded[i].generation;
		char		found[FINGERPRINT_DIGITS + 1] = "";

		if (generation >= 1 && generation <= roots->count)
			fingerprint_text(roots->generation[generation - 1].fingerprint, found);
		if (strcmp(found, recorded[i].fingerprint) != 0)
			return set_trouble(trouble,
							   "biolink root key is not the one this database was used with",
							   found[0] != '\0'
							   ? psprintf("Generation %d has fingerprint %s, recorded is %s.",
										  generation, found, recorded[i].fingerprint)
							   : psprintf("Generation %d with the recorded fingerprint %s is lacking, the last one found is generation %d.",
										  generation, recorded[i].fingerprint,
										  roots->count),
							   "Restore the root key that belongs to this database.");
	}
	return true;
}

/* record_roots stores the fingerprints that are not recorded yet. */
static void
record_roots(const RecordedRoot *recorded, int nrecorded)
{
	OwnerScope	scope;

	owner_enter(&scope);
	for (int generation = 1; generation <= roots->count; generation++)
	{
		char		found[FINGERPRINT_DIGITS + 1];
		Datum		values[2];

		if (recorded_as(recorded, nrecorded, generation) != NULL)
			continue;
		fingerprint_text(roots->generation[generation - 1].fingerprint, found);
		values[0] = Int32GetDatum(generation);
		values[1] = CStringGetTextDatum(found);
		plan_execute(&plan_record_root, values, NULL);
	}
	owner_leave(&scope);
}

/* may_write tells whether this transaction can record anything. */
static bool
may_write(void)
{
	return !RecoveryInProgress() && !XactReadOnly;
}

/*
 * load_roots reads the root keys, making the first one if allowed.  On false
 * *trouble says why.
 */
static bool
load_roots(bool may_create, Trouble *trouble)
{
	if (!read_roots(trouble))
	{
		RecordedRoot recorded[MAX_GENERATIONS];
		int			nrecorded;

		if (!trouble->absent)
			return false;

		nrecorded = recorded_roots(recorded);
		if (nrecorded == 0)
		{
			char		path[MAXPGPATH];

			trouble->message = "there is no biolink root key yet";
			trouble->hint = "The first call that writes makes one; or set biolink.root_key_file or biolink.root_key_command.";
			if (!may_create || !may_write())
				return false;
			(void) root_source(path);
			make_root_file(path);
		}

		/* made just now: here, or elsewhere between the look for it and the record */
		if (!read_roots(trouble))
		{
			if (trouble->absent && nrecorded > 0)
			{
				trouble->absent = false;
				trouble->detail =
					psprintf("%s The database was used with the root key of fingerprint %s.",
							 trouble->detail, recorded[0].fingerprint);
			}
			return false;
		}
	}

	/* what was derived before may have been derived from others */
	wipe_cache();
	known.loaded = true;
	return true;
}

/*
 * find_roots loads the root keys where they are not in hand, compares them
 * with what is recorded, and records them if allowed.  On false *trouble says
 * why.
 */
static bool
find_roots(bool may_create, Trouble *trouble)
{
	RecordedRoot recorded[MAX_GENERATIONS];
	int			nrecorded;
	bool		fresh = !known.loaded;
	bool		matched;
	bool		recording;

	if (fresh && !load_roots(may_create, trouble))
		return false;

	nrecorded = recorded_roots(recorded);
	matched = match_roots(recorded, nrecorded, trouble);
	recording = matched && may_create && may_write() && nrecorded < roots->count;

	/*
	 * What was read by an earlier call may have been removed or put right
	 * since.  It must not be recorded when nobody else will find it, nor be
	 * refused when everybody else finds the right one.
	 */
	if (!fresh && (recording || !matched))
	{
		known.loaded = false;
		known.matched = false;
		return find_roots(may_create, trouble);
	}

	if (recording)
	{
		char		path[MAXPGPATH];

		/* whoever made the file may not have come to this, or may never */
		if (root_source(path) == SOURCE_MADE)
			fsync_fname(DataDir, true);
		record_roots(recorded, nrecorded);

		/* someone else may have been first, with another key */
		nrecorded = recorded_roots(recorded);
		matched = match_roots(recorded, nrecorded, trouble);
	}
	if (!matched)
	{
		/* the next call looks for the right one again, a command's after a pause */
		known.matched = false;
		known.loaded = false;
		known.command_failed_at = GetCurrentTimestamp();
		return false;
	}

	known.matched = true;
	known.anchored = recorded_as(recorded, nrecorded, 1) != NULL;
	known.recorded = nrecorded >= roots->count;
	known.provisional = true;
	known.warned = false;
	known.house_generation = house()->generation;
	return true;
}

/*
 * roots_ready makes sure that the root keys in hand are those of the current
 * configuration and of this database.  A caller that cannot wait is not made
 * to run a command that has just failed.  On false *trouble says why.
 */
static bool
roots_ready(bool may_create, bool can_wait, Trouble *trouble)
{
	bool		same_house = known.house_generation == house()->generation;

	if (known.matched && known.anchored &&
		known.pid == MyProcPid && same_house &&
		known.reload_time == PgReloadTime &&
		(known.recorded || !may_create || !may_write()))
		return true;

	own_memory();
	if (known.reload_time != PgReloadTime)
	{
		wipe_all();
		known.warned = false;
		known.command_failed_at = 0;
		known.reload_time = PgReloadTime;
	}
	else if (!same_house)
	{
		wipe_cache();
		known.matched = false;
	}

	if (!can_wait && !known.loaded && root_key_command[0] != '\0' &&
		known.command_failed_at != 0 &&
		!TimestampDifferenceExceeds(known.command_failed_at,
									GetCurrentTimestamp(), COMMAND_PAUSE_MS))
		return set_trouble(trouble, "biolink root key cannot be read",
						   "biolink.root_key_command has just failed, or given another key.",
						   NULL);

	return find_roots(may_create, trouble);
}

/* raise_trouble raises what keeps a key from being used. */
static void
raise_trouble(const Trouble *trouble)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg_internal("%s", trouble->message),
			 trouble->detail != NULL ? errdetail_internal("%s", trouble->detail) : 0,
			 trouble->hint != NULL ? errhint("%s", trouble->hint) : 0));
}

/*
 * warn_of_trouble tells the same once, where it may not fail; that a database
 * has no key as long as nothing was signed is no trouble.
 */
static void
warn_of_trouble(const Trouble *trouble)
{
	if (trouble->absent || known.warned)
		return;
	known.warned = true;
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg_internal("%s", trouble->message),
			 trouble->detail != NULL ? errdetail_internal("%s", trouble->detail) : 0,
			 trouble->hint != NULL ? errhint("%s", trouble->hint) : 0));
}

/*
 * Epochs
 */

/* read_epoch_row copies the single row of the current SPI result. */
static void
read_epoch_row(EpochRow *row)
{
	HeapTuple	tuple = SPI_tuptable->vals[0];
	char		state[16];
	bool		isnull;

	row->epoch = DatumGetInt32(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
	copy_column(tuple, 2, state, sizeof(state));
	copy_column(tuple, 3, row->root_fingerprint, FINGERPRINT_DIGITS + 1);
	row->active = strcmp(state, "active") == 0;
	if (row->active || strcmp(state, "retiring") == 0)
		row->state = KEY_OK;
	else if (strcmp(state, "revoked") == 0)
		row->state = KEY_REVOKED;
	else
		row->state = KEY_UNKNOWN;
}

/* implied_epoch fills in the row that epoch 1 does not need to have. */
static void
implied_epoch(EpochRow *row)
{
	row->epoch = 1;
	row->state = KEY_OK;
	row->active = true;
	row->root_fingerprint[0] = '\0';
}

/* find_epoch reads one epoch; false where there is none. */
static bool
find_epoch(int64 creator_id, KeyPurpose purpose, uint16 epoch, EpochRow *row)
{
	OwnerScope	scope;
	Datum		values[3];
	bool		found;

	owner_enter(&scope);
	values[0] = Int64GetDatum(creator_id);
	values[1] = CStringGetTextDatum(key_purpose_name(purpose));
	values[2] = Int32GetDatum(epoch);
	found = plan_read_latest(&plan_one_epoch, values, NULL) > 0;
	if (found)
		read_epoch_row(row);
	owner_leave(&scope);

	if (!found && epoch == 1)
	{
		implied_epoch(row);
		return true;
	}
	return found;
}

/* find_signing_epoch reads the newest active epoch; false where none is active. */
static bool
find_signing_epoch(int64 creator_id, KeyPurpose purpose, EpochRow *row)
{
	OwnerScope	scope;
	Datum		values[2];
	bool		found;

	owner_enter(&scope);
	values[0] = Int64GetDatum(creator_id);
	values[1] = CStringGetTextDatum(key_purpose_name(purpose));
	/* a row of epoch 1 in whatever state comes last: without it, 1 is active */
	found = plan_read_latest(&plan_signing_epoch, values, NULL) > 0;
	if (found)
		read_epoch_row(row);
	owner_leave(&scope);

	if (!found)
		implied_epoch(row);
	return row->active;
}

/* root_of_epoch returns the root key an epoch is derived from, NULL where it is not in hand. */
static const uint8 *
root_of_epoch(const EpochRow *row)
{
	if (row->root_fingerprint[0] == '\0')
		return roots->generation[0].key;

	for (int i = 0; i < roots->count; i++)
	{
		char		found[FINGERPRINT_DIGITS + 1];

		fingerprint_text(roots->generation[i].fingerprint, found);
		if (strcmp(found, row->root_fingerprint) == 0)
			return roots->generation[i].key;
	}
	return NULL;
}

/*
 * The cache of derived keys
 */

/* current_generation drops the derived keys if any epoch may have changed. */
static uint64
current_generation(void)
{
	uint64		generation = cached_table_generation(CACHED_KEY_EPOCH);

	if (generation != cache_generation)
	{
		wipe_cache();
		cache_generation = generation;
	}
	return generation;
}

/* set_of returns the set of entries in which a key may be. */
static KeyEntry *
set_of(KeyEntry *entries, int nsets, int64 creator_id, KeyPurpose purpose,
	   uint16 epoch)
{
	uint64		mixed = (uint64) creator_id * UINT64CONST(0x9E3779B97F4A7C15) +
		((uint64) purpose << 16 | epoch) * UINT64CONST(0xC2B2AE3D27D4EB4F);

	return entries + WAYS * ((mixed >> 32) % (uint64) nsets);
}

/* look_up finds a key in its set; any epoch for 0. */
static KeyEntry *
look_up(KeyEntry *set, int64 creator_id, KeyPurpose purpose, uint16 epoch)
{
	for (int i = 0; i < WAYS; i++)
	{
		KeyEntry   *entry = &set[i];

		if (entry->used && entry->creator_id == creator_id &&
			entry->purpose == purpose &&
			(epoch == 0 || entry->epoch == epoch))
			return entry;
	}
	return NULL;
}

/* place_in returns the entry of a set to overwrite. */
static KeyEntry *
place_in(KeyEntry *set)
{
	for (int i = 0; i < WAYS; i++)
	{
		if (!set[i].used)
			return &set[i];
	}
	return &set[next_victim++ % WAYS];
}

/* fill_entry derives a key. */
static void
fill_entry(KeyEntry *entry, int64 creator_id, KeyPurpose purpose, uint16 epoch,
		   const uint8 root[ROOT_KEY_BYTES])
{
	entry->creator_id = creator_id;
	entry->purpose = (uint8) purpose;
	entry->epoch = epoch;
	entry->hash_ready = false;
	entry->public_ready = false;
	derive_subkey(root, purpose, (uint64) creator_id, epoch, entry->key);
	entry->used = true;
}

/* hash_key_of makes a key ready for hashing, once. */
static const HashKey *
hash_key_of(KeyEntry *entry)
{
	if (!entry->hash_ready)
	{
		hash_key_prepare(entry->key, &entry->made.hash_key);
		entry->hash_ready = true;
		entry->public_ready = false;
	}
	return &entry->made.hash_key;
}

/* public_key_of works out the public key of a seed, once: it costs more than all the rest. */
static const uint8 *
public_key_of(KeyEntry *entry)
{
	if (!entry->public_ready)
	{
		uint8		secret_key[SECRET_KEY_BYTES];

		derive_key_pair(entry->key, secret_key, entry->made.public_key);
		sodium_memzero(secret_key, sizeof(secret_key));
		entry->public_ready = true;
		entry->hash_ready = false;
	}
	return entry->made.public_key;
}

/* signing_entry returns the key to sign with, or raises. */
static KeyEntry *
signing_entry(int64 creator_id, KeyPurpose purpose, bool may_create)
{
	uint64		generation;
	Trouble		trouble;
	KeyEntry   *set;
	KeyEntry   *entry;
	EpochRow	row;
	const uint8 *root;

	if (creator_id < 1 || creator_id > MAX_CREATOR_ID)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("creator_id is out of range"),
				 errdetail("It must be from 1 to " INT64_FORMAT ".",
						   MAX_CREATOR_ID)));

	if (!roots_ready(may_create, true, &trouble))
		raise_trouble(&trouble);
	generation = current_generation();

	set = set_of(cache->signing, SIGNING_SETS, creator_id, purpose, 0);
	entry = look_up(set, creator_id, purpose, 0);
	if (entry != NULL)
		return entry;

	if (!find_signing_epoch(creator_id, purpose, &row))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("creator " INT64_FORMAT " has no active key for purpose \"%s\"",
						creator_id, key_purpose_name(purpose)),
				 errdetail("None of its epochs in biolink.key_epoch is active.")));
	root = root_of_epoch(&row);
	if (root == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("root key of epoch %d of creator " INT64_FORMAT " for purpose \"%s\" is missing",
						row.epoch, creator_id, key_purpose_name(purpose)),
				 errdetail("No root key with the fingerprint %s was found.",
						   row.root_fingerprint),
				 errhint("Restore the line of the root key file that the epoch was made with; see biolink.key_status().")));

	/* what was read is of use later only if nothing has changed meanwhile */
	if (current_generation() == generation)
		entry = place_in(set);
	else
		entry = &cache->pending;
	fill_entry(entry, creator_id, purpose, (uint16) row.epoch, root);
	return entry;
}

/* verifying_entry finds the key to verify with; KEY_OK only with *found filled in. */
static KeyState
verifying_entry(int64 creator_id, KeyPurpose purpose, uint16 epoch,
				KeyEntry **found)
{
	uint64		generation;
	Trouble		trouble;
	EpochRow	row;
	const uint8 *root;

	if (creator_id < 1 || creator_id > MAX_CREATOR_ID || epoch == 0)
		return KEY_UNKNOWN;

	if (!roots_ready(false, false, &trouble))
	{
		warn_of_trouble(&trouble);
		return KEY_UNKNOWN;
	}
	generation = current_generation();

	*found = look_up(set_of(cache->verified, VERIFIED_SETS,
							creator_id, purpose, epoch),
					 creator_id, purpose, epoch);
	if (*found != NULL)
		return KEY_OK;

	if (!find_epoch(creator_id, purpose, epoch, &row))
		return KEY_UNKNOWN;
	if (row.state != KEY_OK)
		return row.state;
	root = root_of_epoch(&row);
	if (root == NULL)
		return KEY_UNKNOWN;

	fill_entry(&cache->pending, creator_id, purpose, epoch, root);
	pending_generation = generation;
	*found = &cache->pending;
	return KEY_OK;
}

/*
 * hash_key_for_ever gives the key of epoch 1 under the first root key, ready
 * for hashing, whatever has become of that epoch.
 */
const HashKey *
hash_key_for_ever(int64 creator_id, KeyPurpose purpose, bool may_create)
{
	Trouble		trouble;

	if (!roots_ready(may_create, true, &trouble))
		raise_trouble(&trouble);
	fill_entry(&cache->pending, creator_id, purpose, 1, roots->generation[0].key);
	/* not a key that key_verified() may keep */
	pending_generation = 0;
	return hash_key_of(&cache->pending);
}

/* hash_key_for_signing gives the key of the newest active epoch, ready for hashing. */
const HashKey *
hash_key_for_signing(int64 creator_id, KeyPurpose purpose, bool may_create,
					 uint16 *epoch)
{
	KeyEntry   *entry = signing_entry(creator_id, purpose, may_create);

	*epoch = entry->epoch;
	return hash_key_of(entry);
}

/* secret_key_for_signing gives it as an Ed25519 secret key. */
void
secret_key_for_signing(int64 creator_id, KeyPurpose purpose, bool may_create,
					   uint16 *epoch, uint8 secret_key[SECRET_KEY_BYTES])
{
	KeyEntry   *entry = signing_entry(creator_id, purpose, may_create);

	*epoch = entry->epoch;

	/* libsodium's secret key is the seed followed by the public key */
	memcpy(secret_key, entry->key, SUBKEY_BYTES);
	memcpy(secret_key + SUBKEY_BYTES, public_key_of(entry), PUBLIC_KEY_BYTES);
}

/* hash_key_for_verifying gives the key of one epoch that may verify, ready for hashing. */
KeyState
hash_key_for_verifying(int64 creator_id, KeyPurpose purpose, uint16 epoch,
					   const HashKey **hash_key)
{
	KeyEntry   *entry;
	KeyState	state = verifying_entry(creator_id, purpose, epoch, &entry);

	if (state == KEY_OK)
		*hash_key = hash_key_of(entry);
	return state;
}

/* public_key_for_verifying gives the Ed25519 public key of one epoch that may verify. */
KeyState
public_key_for_verifying(int64 creator_id, KeyPurpose purpose, uint16 epoch,
						 uint8 public_key[PUBLIC_KEY_BYTES])
{
	KeyEntry   *entry;
	KeyState	state = verifying_entry(creator_id, purpose, epoch, &entry);

	if (state == KEY_OK)
		memcpy(public_key, public_key_of(entry), PUBLIC_KEY_BYTES);
	return state;
}

/*
 * key_verified keeps a key under which a tag has verified.  Others are not
 * kept: made-up tokens of made-up creators must not push out the keys in use.
 */
void
key_verified(int64 creator_id, KeyPurpose purpose, uint16 epoch,
			 const uint8 *key)
{
	KeyEntry   *pending;
	KeyEntry   *set;

	if (cache == NULL || known.pid != MyProcPid)
		return;
	pending = &cache->pending;
	if (!pending->used || pending->creator_id != creator_id ||
		pending->purpose != purpose || pending->epoch != epoch ||
		pending_generation != cache_generation)
		return;
	if (key != NULL &&
		sodium_memcmp(key, pending->public_ready ? pending->made.public_key
					  : pending->key, SUBKEY_BYTES) != 0)
		return;

	set = set_of(cache->verified, VERIFIED_SETS, creator_id, purpose, epoch);
	if (look_up(set, creator_id, purpose, epoch) == NULL)
		*place_in(set) = *pending;
	sodium_memzero(pending, sizeof(*pending));
}

/*
 * Transactions, settings, and what an administrator sees
 */

/* forget_provisional forgets what rows of an aborted transaction may have told. */
static void
forget_provisional(void)
{
	if (known.provisional)
		known.matched = false;
}

/* at_transaction_end settles what was learnt within a transaction. */
static void
at_transaction_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
			/* whoever commits or rolls back a prepared one, we do not hear of it */
		case XACT_EVENT_PREPARE:
			forget_provisional();
			known.provisional = false;
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
			known.provisional = false;
			break;
		default:
			break;
	}
}

/* at_subtransaction_end does the same for a part of one. */
static void
at_subtransaction_end(SubXactEvent event, SubTransactionId mine,
					  SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		forget_provisional();
}

/*
 * is_set tells whether a setting that is not defined yet has a value; that
 * may come from the configuration, or from whoever connects (PGOPTIONS).
 */
static bool
is_set(const char *name)
{
	return GetConfigOption(name, true, false) != NULL;
}

/* keys_init defines the settings and reserves their prefix. */
void
keys_init(void)
{
	bool		command_was_set = is_set("biolink.root_key_command");
	bool		file_was_set = is_set("biolink.root_key_file");

	if (sodium_init() < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not initialize libsodium")));

	DefineCustomStringVariable("biolink.root_key_command",
							   "Shell command that prints the root keys of biolink.",
							   "One key a line, as 64 hexadecimal digits, the newest last. "
							   "Takes precedence over biolink.root_key_file.",
							   &root_key_command,
							   "",
							   PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY | GUC_NOT_IN_SAMPLE,
							   NULL, NULL, NULL);

	DefineCustomStringVariable("biolink.root_key_file",
							   "File that holds the root keys of biolink.",
							   "One key a line, as 64 hexadecimal digits, the newest last. "
							   "A relative path starts from the data directory. "
							   "If empty, biolink.key in the data directory is used.",
							   &root_key_file,
							   "",
							   PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY | GUC_NOT_IN_SAMPLE,
							   NULL, NULL, NULL);

	MarkGUCPrefixReserved("biolink");

	/*
	 * What a client may not set is refused now.  But where it was sent with
	 * the connection it had already taken the place of the configuration's
	 * value, and the default would be used instead of either: so the
	 * configuration is read again.
	 */
	if (!process_shared_preload_libraries_in_progress &&
		((command_was_set && root_key_command[0] == '\0') ||
		 (file_was_set && root_key_file[0] == '\0')))
		ProcessConfigFile(PGC_SIGHUP);

	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}

/* advice_for tells what to do about where the root keys are; NULL when all is well. */
static const char *
advice_for(RootSource source, const char *path)
{
	if (source == SOURCE_MADE)
		return "Move the file to a safe place outside the data directory and set biolink.root_key_file to it: pg_upgrade, pg_rewind and standbys made earlier lose it here.";
	if (source == SOURCE_FILE && path_is_prefix_of_path(DataDir, path))
		return "Keep the file outside the data directory: pg_upgrade, pg_rewind and standbys made earlier lose it here.";
	return NULL;
}

/* text_or_null stores a text column, or NULL. */
static void
text_or_null(const char *text, Datum *value, bool *isnull)
{
	*isnull = text == NULL;
	*value = text != NULL ? CStringGetTextDatum(text) : (Datum) 0;
}

/*
 * key_status is the SQL function of that name: one row for each generation
 * of the root key that was found or is recorded, or one that says what is
 * wrong.  Makes and records nothing.
 */
Datum
key_status(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	RecordedRoot recorded[MAX_GENERATIONS];
	int			nrecorded;
	int			last;
	char		path[MAXPGPATH];
	RootSource	source = root_source(path);
	const char *advice = advice_for(source, path);
	Trouble		trouble = {0};
	bool		usable;

	InitMaterializedSRF(fcinfo, 0);

	usable = roots_ready(false, true, &trouble);
	nrecorded = recorded_roots(recorded);

	last = roots->count;
	if (nrecorded > 0)
		last = Max(last, recorded[nrecorded - 1].generation);

	for (int generation = last > 0 ? 1 : 0; generation <= last; generation++)
	{
		const char *expected = recorded_as(recorded, nrecorded, generation);
		char		found[FINGERPRINT_DIGITS + 1] = "";
		const char *state;
		const char *detail = NULL;
		Datum		values[7];
		bool		nulls[7];

		if (generation >= 1 && generation <= roots->count)
			fingerprint_text(roots->generation[generation - 1].fingerprint, found);

		if (found[0] == '\0')
		{
			if (expected != NULL)
				state = "missing";
			else if (generation > 0)
				continue;
			else
				state = trouble.absent ? "none" : "unreadable";
		}
		else if (expected == NULL)
			state = "unrecorded";
		else if (strcmp(expected, found) == 0)
			state = "ok";
		else
			state = "mismatch";

		if (!usable && strcmp(state, "ok") != 0)
		{
			detail = trouble.message;
			if (trouble.detail != NULL)
				detail = psprintf("%s: %s", detail, trouble.detail);
		}

		values[0] = Int32GetDatum(generation);
		nulls[0] = generation == 0;
		text_or_null(source == SOURCE_COMMAND ? "command"
					 : source == SOURCE_FILE ? "file" : "made",
					 &values[1], &nulls[1]);
		text_or_null(source == SOURCE_COMMAND ? NULL : path,
					 &values[2], &nulls[2]);
		text_or_null(found[0] != '\0' ? found : NULL, &values[3], &nulls[3]);
		text_or_null(expected, &values[4], &nulls[4]);
		text_or_null(state, &values[5], &nulls[5]);
		if (detail == NULL || trouble.hint == NULL)
			detail = detail != NULL ? detail : advice;
		else
			detail = psprintf("%s %s", detail, trouble.hint);
		text_or_null(detail, &values[6], &nulls[6]);

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	PG_RETURN_VOID();
}
