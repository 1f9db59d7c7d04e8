/*-------------------------------------------------------------------------
 *
 * crypto_test.c
 *	  Tests of derive.c and token_core.c without a server.
 *
 * Usage: crypto_test [vectors]; the default is test/vectors/biolink_v1.tsv.
 * Prints TAP; exits with 1 when a test failed.
 *
 *-------------------------------------------------------------------------
 */
#include "derive.h"
#include "token_core.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FIELDS	16

static int	tests_run = 0;
static int	tests_failed = 0;

static uint8_t root_key[ROOT_KEY_BYTES];

/* One golden token, kept whole: the malformed ones are made from it. */
typedef struct Sample
{
	char		text[TOKEN_MAX_TEXT + 1];
	char		qr[TOKEN_MAX_QR + 1];
	char		audience[64];
	uint8_t		bytes[TOKEN_MAX_BYTES];
	size_t		len;
	TokenFields fields;
} Sample;

static Sample samples[16];
static int	nsamples = 0;

/* ok prints one TAP line. */
static void
ok(bool passed, const char *name, ...)
{
	va_list		args;

	tests_run++;
	if (!passed)
		tests_failed++;
	printf("%sok %d - ", passed ? "" : "not ", tests_run);
	va_start(args, name);
	vprintf(name, args);
	va_end(args);
	putchar('\n');
}

/* from_hex reads exactly len bytes. */
static void
from_hex(const char *hex, uint8_t *out, size_t len)
{
	size_t		got = 0;

	if (sodium_hex2bin(out, len, hex, strlen(hex), NULL, &got, NULL) != 0 || got != len)
	{
		printf("Bail out! bad hexadecimal in the vectors: %s\n", hex);
		exit(1);
	}
}

/* is_hex compares bytes with their hexadecimal form. */
static bool
is_hex(const uint8_t *bytes, size_t len, const char *hex)
{
	char		text[2 * SECRET_KEY_BYTES + 1];

	sodium_bin2hex(text, sizeof(text), bytes, len);
	return strcmp(text, hex) == 0;
}

/* uuid_from_text reads the usual form of a UUID. */
static void
uuid_from_text(const char *text, uint8_t out[16])
{
	size_t		got = 0;

	if (sodium_hex2bin(out, 16, text, strlen(text), "-", &got, NULL) != 0 || got != 16)
	{
		printf("Bail out! bad UUID in the vectors: %s\n", text);
		exit(1);
	}
}

/* split cuts a line at its tabs, keeping empty fields. */
static int
split(char *line, char *fields[MAX_FIELDS])
{
	int			n = 0;

	line[strcspn(line, "\r\n")] = '\0';
	for (char *at = line; at != NULL && n < MAX_FIELDS;)
	{
		char	   *tab = strchr(at, '\t');

		fields[n++] = at;
		if (tab != NULL)
			*tab++ = '\0';
		at = tab;
	}
	return n;
}

/* subkey_of derives a key of the vectors' root. */
static void
subkey_of(const char *purpose_name, const char *creator, const char *epoch,
		  uint8_t out[SUBKEY_BYTES])
{
	KeyPurpose	purpose;

	if (!key_purpose_by_name(purpose_name, &purpose))
	{
		printf("Bail out! unknown purpose in the vectors: %s\n", purpose_name);
		exit(1);
	}
	derive_subkey(root_key, purpose, strtoull(creator, NULL, 10),
				  (uint16_t) strtoul(epoch, NULL, 10), out);
}

/* The keys of a token, as the server would have them. */
typedef struct TestKeys
{
	HashKey		hmac;
	uint8_t		secret_key[SECRET_KEY_BYTES];
	uint8_t		public_key[PUBLIC_KEY_BYTES];
	TokenKey	signing;
	TokenKey	verifying;
} TestKeys;

/* keys_of derives the keys that sign and verify fields. */
static void
keys_of(const TokenFields *fields, TestKeys *keys)
{
	uint8_t		subkey[SUBKEY_BYTES];

	derive_subkey(root_key, token_key_purpose(fields->algorithm),
				  (uint64_t) fields->creator_id, fields->epoch, subkey);
	hash_key_prepare(subkey, &keys->hmac);
	derive_key_pair(subkey, keys->secret_key, keys->public_key);
	keys->signing = (TokenKey) {&keys->hmac, keys->secret_key};
	keys->verifying = (TokenKey) {&keys->hmac, keys->public_key};
}

/* same_fields compares field by field: the struct has padding. */
static bool
same_fields(const TokenFields *a, const TokenFields *b)
{
	return a->kind == b->kind && a->algorithm == b->algorithm &&
		a->epoch == b->epoch && a->expires == b->expires &&
		memcmp(a->event_id, b->event_id, 16) == 0 &&
		a->creator_id == b->creator_id && a->link_id == b->link_id &&
		a->campaign_id == b->campaign_id;
}

/* golden_token checks one token of the vectors in all its forms. */
static void
golden_token(char *fields[MAX_FIELDS])
{
	Sample	   *sample = &samples[nsamples++];
	TokenFields made;
	TokenFields read;
	TestKeys	keys;
	uint8_t		bytes[TOKEN_MAX_BYTES];
	char		text[TOKEN_MAX_TEXT + 1];
	char		qr[TOKEN_MAX_QR + 1];
	const char *name = fields[1];
	size_t		len;

	memset(&made, 0, sizeof(made));
	ok(token_kind_by_name(fields[2], &made.kind) &&
	   token_algorithm_by_name(fields[3], &made.algorithm),
	   "%s: kind and algorithm are known", name);
	made.epoch = (uint16_t) strtoul(fields[4], NULL, 10);
	uuid_from_text(fields[5], made.event_id);
	made.expires = (uint32_t) strtoul(fields[6], NULL, 10);
	made.creator_id = strtoll(fields[7], NULL, 10);
	made.link_id = strtoll(fields[8], NULL, 10);
	made.campaign_id = strtoll(fields[9], NULL, 10);

	keys_of(&made, &keys);
	len = token_compose(&made, keys.signing, fields[10], strlen(fields[10]), bytes);
	ok(len == token_length(made.kind, made.algorithm), "%s: length", name);
	ok(token_encode(bytes, len, text) == strlen(fields[11]) &&
	   strcmp(text, fields[11]) == 0, "%s: base64url", name);
	ok(token_qr_encode(bytes, len, qr) == strlen(fields[12]) &&
	   strcmp(qr, fields[12]) == 0, "%s: base32", name);

	memset(sample->bytes, 0, sizeof(sample->bytes));
	sample->len = token_decode_any(fields[11], strlen(fields[11]), sample->bytes);
	ok(sample->len == len && memcmp(sample->bytes, bytes, len) == 0,
	   "%s: base64url read back", name);
	memset(sample->bytes, 0, sizeof(sample->bytes));
	sample->len = token_decode_any(fields[12], strlen(fields[12]), sample->bytes);
	ok(sample->len == len && memcmp(sample->bytes, bytes, len) == 0,
	   "%s: base32 read back", name);
	ok(token_parse(bytes, len, &read) && same_fields(&read, &made),
	   "%s: fields read back", name);
	ok(token_tag_holds(bytes, len, &read, keys.verifying,
					   fields[10], strlen(fields[10])),
	   "%s: tag holds", name);

	sample->fields = made;
	strcpy(sample->text, fields[11]);
	strcpy(sample->qr, fields[12]);
	snprintf(sample->audience, sizeof(sample->audience), "%s", fields[10]);
}

/* golden_line checks one line of the vectors. */
static void
golden_line(char *fields[MAX_FIELDS], int n)
{
	if (strcmp(fields[0], "root_key") == 0 && n == 2)
		from_hex(fields[1], root_key, ROOT_KEY_BYTES);
	else if (strcmp(fields[0], "fingerprint") == 0 && n == 2)
	{
		uint8_t		fingerprint[FINGERPRINT_BYTES];

		derive_fingerprint(root_key, fingerprint);
		ok(is_hex(fingerprint, FINGERPRINT_BYTES, fields[1]), "fingerprint");
	}
	else if (strcmp(fields[0], "subkey") == 0 && n == 5)
	{
		uint8_t		subkey[SUBKEY_BYTES];

		subkey_of(fields[1], fields[2], fields[3], subkey);
		ok(is_hex(subkey, SUBKEY_BYTES, fields[4]), "subkey %s %s %s",
		   fields[1], fields[2], fields[3]);
	}
	else if (strcmp(fields[0], "public_key") == 0 && n == 5)
	{
		uint8_t		seed[SUBKEY_BYTES];
		uint8_t		secret_key[SECRET_KEY_BYTES];
		uint8_t		public_key[PUBLIC_KEY_BYTES];

		subkey_of(fields[1], fields[2], fields[3], seed);
		derive_key_pair(seed, secret_key, public_key);
		ok(is_hex(public_key, PUBLIC_KEY_BYTES, fields[4]), "public key");
		ok(memcmp(secret_key, seed, SUBKEY_BYTES) == 0 &&
		   memcmp(secret_key + SUBKEY_BYTES, public_key, PUBLIC_KEY_BYTES) == 0,
		   "secret key is seed and public key");
	}
	else if (strcmp(fields[0], "token") == 0 && n == 13)
		golden_token(fields);
	else if (strcmp(fields[0], "idhash") == 0 && n == 6)
	{
		uint8_t		key[SUBKEY_BYTES];
		HashKey		hash_key;
		uint8_t		sha256[32];
		uint8_t		idhash[DERIVED_HASH_BYTES];

		subkey_of("identity", fields[1], "1", key);
		sha256_of(fields[3], strlen(fields[3]), sha256);
		ok(is_hex(sha256, 32, fields[4]), "sha256 of %s", fields[3]);
		hash_key_prepare(key, &hash_key);
		derive_idhash(&hash_key, fields[2], strlen(fields[2]), sha256, idhash);
		ok(is_hex(idhash, DERIVED_HASH_BYTES, fields[5]), "idhash of %s %s",
		   fields[2], fields[3]);
	}
	else
		ok(false, "line of the vectors is understood: %s", fields[0]);
}

/* encodings checks that PAE is injective where a plain join is not. */
static void
encodings(void)
{
	uint8_t		out[64];
	HashKey		hash_key;
	static const Bytes none[] = {{NULL, 0}};
	static const Bytes empty[] = {{"", 0}};
	static const Bytes test[] = {{"test", 4}};
	static const Bytes split_a[] = {{"ab", 2}, {"c", 1}};
	static const Bytes split_b[] = {{"a", 1}, {"bc", 2}};
	uint8_t		key[SUBKEY_BYTES] = {0};
	uint8_t		a[DERIVED_HASH_BYTES];
	uint8_t		b[DERIVED_HASH_BYTES];

	/* the examples of the PASETO specification */
	pae_write(none, 0, out);
	ok(pae_length(none, 0) == 8 &&
	   memcmp(out, "\0\0\0\0\0\0\0\0", 8) == 0, "PAE of nothing");
	pae_write(empty, 1, out);
	ok(pae_length(empty, 1) == 16 &&
	   memcmp(out, "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16) == 0,
	   "PAE of an empty piece");
	pae_write(test, 1, out);
	ok(pae_length(test, 1) == 20 &&
	   memcmp(out, "\1\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0test", 20) == 0,
	   "PAE of a piece");

	hash_key_prepare(key, &hash_key);
	hash_key_hash16(&hash_key, split_a, 2, a);
	hash_key_hash16(&hash_key, split_b, 2, b);
	ok(memcmp(a, b, sizeof(a)) != 0, "pieces cannot be shifted");

	/* the streamed hash is that of the written encoding */
	{
		uint8_t		full[crypto_auth_hmacsha256_BYTES];

		pae_write(split_a, 2, out);
		crypto_auth_hmacsha256(full, out, pae_length(split_a, 2), key);
		ok(memcmp(a, full, sizeof(a)) == 0, "tag is HMAC-SHA-256, cut");
	}
}

/* names checks that every name is found again and no other is. */
static void
names(void)
{
	bool		all = true;
	KeyPurpose	purpose;
	TokenKind	kind;
	TokenAlgorithm algorithm;

	for (int i = 0; i < NUM_KEY_PURPOSES; i++)
		all = all && key_purpose_by_name(key_purpose_name((KeyPurpose) i), &purpose) &&
			purpose == (KeyPurpose) i;
	ok(all, "purposes have names");
	ok(!key_purpose_by_name("Token", &purpose) && !key_purpose_by_name("", &purpose),
	   "other purposes are unknown");
	all = true;
	for (int i = 0; i < NUM_TOKEN_KINDS; i++)
		all = all && token_kind_by_name(token_kind_name((TokenKind) i), &kind) &&
			kind == (TokenKind) i;
	for (int i = 0; i < NUM_TOKEN_ALGORITHMS; i++)
		all = all && token_algorithm_by_name(token_algorithm_name((TokenAlgorithm) i), &algorithm) &&
			algorithm == (TokenAlgorithm) i;
	ok(all, "kinds and algorithms have names");
	ok(!token_kind_by_name("sessio", &kind) && !token_algorithm_by_name("none", &algorithm),
	   "other kinds and algorithms are unknown");
}

/* accepted runs a text through all that stands before the expiry. */
static bool
accepted(const Sample *sample, const char *text, size_t text_len)
{
	uint8_t		bytes[TOKEN_MAX_BYTES];
	size_t		len = token_decode_any(text, text_len, bytes);
	TokenFields fields;
	TestKeys	keys;

	if (len == 0 || !token_parse(bytes, len, &fields))
		return false;
	keys_of(&fields, &keys);
	return token_tag_holds(bytes, len, &fields, keys.verifying,
						   sample->audience, strlen(sample->audience));
}

/* malformed_text spoils the two texts of a sample in every way a transport might. */
static void
malformed_text(const Sample *sample, const char *text, bool qr)
{
	uint8_t		out[TOKEN_MAX_BYTES];
	size_t		len = strlen(text);
	char		work[TOKEN_MAX_QR + 8];
	bool		refused = true;
	size_t		changed = 0;
	static const char base64_strangers[] = "+/=. \n\t%~\x7f\x80\xff";
	static const char base32_strangers[] = "0189abcz=-_ \n\x80\xff";
	const char *strangers = qr ? base32_strangers : base64_strangers;
	size_t		nstrangers = strlen(strangers) + 1; /* and NUL itself */

	/* what is cut to the length of another kind decodes, and fails later */
	for (size_t cut = 0; cut < len; cut++)
		refused = refused && !accepted(sample, text, cut);
	ok(accepted(sample, text, len) && refused, "%.8s...: cut short is refused", text);

	memcpy(work, text, len);
	work[len] = '=';
	refused = token_decode_any(work, len + 1, out) == 0;
	work[len] = 'A';
	refused = refused && token_decode_any(work, len + 1, out) == 0;
	work[len] = '\n';
	refused = refused && token_decode_any(work, len + 1, out) == 0;
	memcpy(work + 1, text, len);
	work[0] = ' ';
	refused = refused && token_decode_any(work, len + 1, out) == 0;
	ok(refused, "%.8s...: anything added is refused", text);

	refused = true;
	for (size_t at = 0; at < len; at++)
	{
		for (size_t s = 0; s < nstrangers; s++)
		{
			memcpy(work, text, len);
			work[at] = strangers[s];
			refused = refused && token_decode_any(work, len, out) == 0;
		}
	}
	ok(refused, "%.8s...: strange characters are refused", text);

	/* every other digit at every place: refused, or another value with one text */
	for (size_t at = 0; at < len; at++)
	{
		for (int c = 0; c < 256; c++)
		{
			size_t		got;
			char		back[TOKEN_MAX_QR + 1];

			if ((char) c == text[at])
				continue;
			memcpy(work, text, len);
			work[at] = (char) c;
			got = token_decode_any(work, len, out);
			if (got == 0)
				continue;
			if (memcmp(out, sample->bytes, got) == 0)
				changed++;
			if (qr)
				token_qr_encode(out, got, back);
			else
				token_encode(out, got, back);
			if (memcmp(back, work, len) != 0)
				changed++;
		}
	}
	ok(changed == 0, "%.8s...: one text for one value", text);
}

/* malformed_bytes checks what token_parse() and the tag refuse. */
static void
malformed_bytes(const Sample *sample)
{
	TokenFields fields;
	TokenFields other;
	TestKeys	keys;
	uint8_t		work[TOKEN_MAX_BYTES + 16];
	bool		good = true;

	for (size_t len = 0; len < sizeof(work); len++)
	{
		memset(work, 0, sizeof(work));
		memcpy(work, sample->bytes, sample->len);
		good = good && token_parse(work, len, &fields) == (len == sample->len);
	}
	ok(good, "%.8s...: only its own length", sample->text);

	good = true;
	for (int first = 0; first < 256; first++)
	{
		int			kind = first & 0x0F;
		bool		expected = first >> 4 == 1 && kind < NUM_TOKEN_KINDS &&
			sample->len == token_length((TokenKind) kind, sample->fields.algorithm);

		memcpy(work, sample->bytes, sample->len);
		work[0] = (uint8_t) first;
		good = good && token_parse(work, sample->len, &fields) == expected;
	}
	ok(good, "%.8s...: versions and kinds", sample->text);

	good = true;
	for (int second = 0; second < 256; second++)
	{
		memcpy(work, sample->bytes, sample->len);
		work[1] = (uint8_t) second;
		good = good && token_parse(work, sample->len, &fields) ==
			(second == sample->bytes[1]);
	}
	ok(good, "%.8s...: algorithms and flags", sample->text);

	/* no bit of the token is outside what is checked */
	keys_of(&sample->fields, &keys);
	good = true;
	for (size_t bit = 0; bit < 8 * sample->len; bit++)
	{
		memcpy(work, sample->bytes, sample->len);
		work[bit / 8] ^= (uint8_t) (1 << bit % 8);
		if (token_parse(work, sample->len, &fields) &&
			token_tag_holds(work, sample->len, &fields, keys.verifying,
							sample->audience, strlen(sample->audience)))
			good = false;
	}
	ok(good, "%.8s...: every bit counts", sample->text);

	ok(token_parse(sample->bytes, sample->len, &fields) &&
	   !token_tag_holds(sample->bytes, sample->len, &fields, keys.verifying,
						"shop.exampl", 11) &&
	   !token_tag_holds(sample->bytes, sample->len, &fields, keys.verifying,
						"shop.example\0", 13) &&
	   !token_tag_holds(sample->bytes, sample->len, &fields, keys.verifying,
						"elsewhere", 9),
	   "%.8s...: wrong audience", sample->text);
	other = sample->fields;
	other.epoch++;
	keys_of(&other, &keys);
	ok(!token_tag_holds(sample->bytes, sample->len, &fields, keys.verifying,
						sample->audience, strlen(sample->audience)),
	   "%.8s...: wrong key", sample->text);
}

/* limits checks the ends of every field's range, and audiences of any length. */
static void
limits(void)
{
	TokenFields fields;
	TokenFields read;
	TestKeys	keys;
	uint8_t		out[TOKEN_MAX_BYTES];
	size_t		len;
	size_t		audience_len = 100000;
	char	   *audience = malloc(audience_len);

	memset(&fields, 0, sizeof(fields));
	fields.kind = TOKEN_RECEIPT;
	fields.epoch = 65535;
	fields.expires = UINT32_MAX;
	fields.creator_id = (INT64_C(1) << 40) - 1;
	fields.link_id = (INT64_C(1) << 48) - 1;
	fields.campaign_id = (INT64_C(1) << 48) - 1;
	memset(fields.event_id, 0xFF, 16);
	keys_of(&fields, &keys);
	len = token_compose(&fields, keys.signing, "", 0, out);
	ok(len == 57 && token_parse(out, len, &read) && same_fields(&fields, &read),
	   "greatest values fit");
	ok(token_compose(&fields, keys.signing, NULL, 0, out) == 57 &&
	   token_tag_holds(out, 57, &fields, keys.verifying, "", 0),
	   "no audience is the empty one");

	memset(audience, 'a', audience_len);
	for (int algorithm = 0; algorithm < NUM_TOKEN_ALGORITHMS; algorithm++)
	{
		fields.algorithm = (TokenAlgorithm) algorithm;
		keys_of(&fields, &keys);
		len = token_compose(&fields, keys.signing, audience, audience_len, out);
		ok(len > 0 && token_tag_holds(out, len, &fields, keys.verifying, audience, audience_len) &&
		   !token_tag_holds(out, len, &fields, keys.verifying, audience, audience_len - 1),
		   "long audience, %s", token_algorithm_name((TokenAlgorithm) algorithm));
	}
	fields.algorithm = TOKEN_HMAC;
	free(audience);

	fields.creator_id++;
	ok(token_compose(&fields, keys.signing, "", 0, out) == 0, "creator id too great");
	fields.creator_id = -1;
	ok(token_compose(&fields, keys.signing, "", 0, out) == 0, "creator id negative");
	fields.creator_id = 1;
	fields.link_id++;
	ok(token_compose(&fields, keys.signing, "", 0, out) == 0, "link id too great");
	fields.link_id = -1;
	ok(token_compose(&fields, keys.signing, "", 0, out) == 0, "link id negative");
	fields.link_id = 1;
	fields.campaign_id++;
	ok(token_compose(&fields, keys.signing, "", 0, out) == 0, "campaign id too great");
	fields.campaign_id = 0;
	fields.kind = TOKEN_SESSION;
	ok(token_compose(&fields, keys.signing, "", 0, out) == 0, "session token with a link");
	fields.link_id = 0;
	ok(token_compose(&fields, keys.signing, "", 0, out) == 45, "session token without one");
	fields.kind = (TokenKind) 3;
	ok(token_compose(&fields, keys.signing, "", 0, out) == 0, "unknown kind");
	fields.kind = TOKEN_SESSION;
	fields.algorithm = (TokenAlgorithm) 2;
	ok(token_compose(&fields, keys.signing, "", 0, out) == 0, "unknown algorithm");
}

/* base32_lengths round-trips every length and refuses those no bytes have. */
static void
base32_lengths(void)
{
	uint8_t		bytes[TOKEN_MAX_BYTES];
	uint8_t		back[TOKEN_MAX_BYTES];
	char		text[TOKEN_MAX_QR + 1];
	bool		good = true;
	bool		reached[TOKEN_MAX_QR + 1] = {false};

	for (size_t len = 1; len <= TOKEN_MAX_BYTES; len++)
	{
		size_t		text_len;

		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t) (i * 73 + len);
		text_len = token_qr_encode(bytes, len, text);
		reached[text_len] = true;
		good = good && strlen(text) == text_len &&
			token_qr_decode(text, text_len, back) == len &&
			memcmp(bytes, back, len) == 0;
	}
	ok(good, "base32 of every length");

	good = true;
	memset(text, 'A', TOKEN_MAX_QR);
	for (size_t len = 0; len <= TOKEN_MAX_QR; len++)
		good = good && (token_qr_decode(text, len, back) != 0) == reached[len];
	ok(good, "base32 of impossible lengths is refused");
	/* RFC 4648, section 10 */
	ok(token_qr_encode((const uint8_t *) "foobar", 6, text) == 10 &&
	   strcmp(text, "MZXW6YTBOI") == 0, "base32 of the RFC");
}

int
main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : "test/vectors/biolink_v1.tsv";
	FILE	   *file;
	char		line[2048];

	if (sodium_init() < 0)
	{
		printf("Bail out! libsodium cannot be initialised\n");
		return 1;
	}
	file = fopen(path, "r");
	if (file == NULL)
	{
		printf("Bail out! cannot open %s\n", path);
		return 1;
	}
	while (fgets(line, sizeof(line), file) != NULL)
	{
		char	   *fields[MAX_FIELDS];

		if (line[0] == '#' || line[0] == '\n')
			continue;
		golden_line(fields, split(line, fields));
	}
	fclose(file);
	ok(nsamples == 6, "six golden tokens");

	encodings();
	names();
	for (int i = 0; i < nsamples; i++)
	{
		malformed_text(&samples[i], samples[i].text, false);
		malformed_text(&samples[i], samples[i].qr, true);
		malformed_bytes(&samples[i]);
	}
	limits();
	base32_lengths();

	printf("1..%d\n", tests_run);
	return tests_failed > 0;
}
