/*-------------------------------------------------------------------------
 *
 * fuzz_token.c
 *	  Whatever bytes come in, what token_core.c makes of them must agree with
 *	  itself: libFuzzer's entry, which aborts when it does not.
 *
 * The input is taken four times: as a text, as the bytes of a token, as the
 * fields of one, and as an audience.
 *
 *-------------------------------------------------------------------------
 */
#include "derive.h"
#include "token_core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* must states a property. */
#define must(property) \
	do { \
		if (!(property)) \
		{ \
			fprintf(stderr, "violated: %s (line %d)\n", #property, __LINE__); \
			abort(); \
		} \
	} while (0)

/* The keys of both algorithms, from the root key of the test vectors. */
typedef struct FuzzKeys
{
	HashKey		hash_key;
	uint8_t		secret_key[SECRET_KEY_BYTES];
	uint8_t		public_key[PUBLIC_KEY_BYTES];
	TokenKey	signing;
	TokenKey	verifying;
} FuzzKeys;

static FuzzKeys keys;

/* make_keys fills them in once. */
static void
make_keys(void)
{
	static bool made = false;
	uint8_t		root[ROOT_KEY_BYTES];
	uint8_t		subkey[SUBKEY_BYTES];

	if (made)
		return;
	must(sodium_init() >= 0);
	for (int i = 0; i < ROOT_KEY_BYTES; i++)
		root[i] = (uint8_t) i;
	derive_subkey(root, PURPOSE_TOKEN, 1, 1, subkey);
	hash_key_prepare(subkey, &keys.hash_key);
	derive_subkey(root, PURPOSE_TOKEN_ED25519, 1, 1, subkey);
	derive_key_pair(subkey, keys.secret_key, keys.public_key);
	keys.signing = (TokenKey) {&keys.hash_key, keys.secret_key};
	keys.verifying = (TokenKey) {&keys.hash_key, keys.public_key};
	made = true;
}

/* try_bytes takes the input for the bytes of a token. */
static void
try_bytes(const uint8_t *bytes, size_t len)
{
	TokenFields fields;
	uint8_t		again[TOKEN_MAX_BYTES];
	uint8_t		back[TOKEN_MAX_BYTES];
	char		text[TOKEN_MAX_TEXT + 1];
	char		qr[TOKEN_MAX_QR + 1];
	size_t		text_len;
	size_t		tag_len;

	if (!token_parse(bytes, len, &fields))
		return;
	must(len == token_length(fields.kind, fields.algorithm));

	/* the fields hold all there is, the tag apart */
	tag_len = fields.algorithm == TOKEN_ED25519 ? SIGNATURE_BYTES : TAG_BYTES;
	must(token_compose(&fields, keys.signing, "", 0, again) == len);
	must(memcmp(again, bytes, len - tag_len) == 0);
	must(token_tag_holds(again, len, &fields, keys.verifying, "", 0));

	/* a forged tag holds only if it is the right one */
	must(fields.algorithm == TOKEN_ED25519 ||
		 token_tag_holds(bytes, len, &fields, keys.verifying, "", 0) ==
		 (memcmp(again, bytes, len) == 0));

	text_len = token_encode(bytes, len, text);
	must(text_len > 0 && text_len == strlen(text));
	must(token_decode(text, text_len, back) == len && memcmp(back, bytes, len) == 0);
	must(token_decode_any(text, text_len, back) == len && memcmp(back, bytes, len) == 0);

	text_len = token_qr_encode(bytes, len, qr);
	must(text_len > 0 && text_len == strlen(qr));
	must(token_qr_decode(qr, text_len, back) == len && memcmp(back, bytes, len) == 0);
	must(token_decode_any(qr, text_len, back) == len && memcmp(back, bytes, len) == 0);
}

/* try_text takes the input for a text: what decodes is the only text of its value. */
static void
try_text(const char *text, size_t len)
{
	uint8_t		bytes[TOKEN_MAX_BYTES];
	uint8_t		other[TOKEN_MAX_BYTES];
	char		again[TOKEN_MAX_QR + 1];
	size_t		other_len = 0;
	size_t		got;
	bool		ascii = true;

	for (size_t i = 0; i < len; i++)
		ascii = ascii && (text[i] & 0x80) == 0;

	got = token_decode(text, len, bytes);
	if (got > 0)
	{
		must(token_encode(bytes, got, again) == len && memcmp(again, text, len) == 0);
		try_bytes(bytes, got);
	}

	/* libsodium's decoder agrees wherever it is strict itself */
	if (ascii && len > 0 && len <= TOKEN_MAX_TEXT && len % 4 == 0)
	{
		bool		accepted = sodium_base642bin(other, sizeof(other), text, len, NULL,
												 &other_len, NULL,
												 sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0;

		must(accepted == (got > 0));
		must(got == 0 || (other_len == got && memcmp(other, bytes, got) == 0));
	}

	got = token_qr_decode(text, len, bytes);
	if (got > 0)
	{
		must(token_qr_encode(bytes, got, again) == len && memcmp(again, text, len) == 0);
		try_bytes(bytes, got);
	}

	got = token_decode_any(text, len, bytes);
	must(got == 0 || got == 45 || got == 57 || got == 93 || got == 105);
}

/* take reads the next bytes of the input as a number. */
static uint64_t
take(const uint8_t **data, size_t *size, int nbytes)
{
	uint64_t	value = 0;

	for (int i = 0; i < nbytes && *size > 0; i++)
	{
		value = value << 8 | **data;
		(*data)++;
		(*size)--;
	}
	return value;
}

/* try_fields takes the input for fields, and what is left of it for an audience. */
static void
try_fields(const uint8_t *data, size_t size)
{
	TokenFields fields;
	TokenFields read;
	uint8_t		bytes[TOKEN_MAX_BYTES];
	size_t		len;

	memset(&fields, 0, sizeof(fields));
	fields.kind = (TokenKind) take(&data, &size, 1);
	fields.algorithm = (TokenAlgorithm) take(&data, &size, 1);
	fields.epoch = (uint16_t) take(&data, &size, 2);
	fields.expires = (uint32_t) take(&data, &size, 4);
	fields.creator_id = (int64_t) take(&data, &size, 8);
	fields.link_id = (int64_t) take(&data, &size, 8);
	fields.campaign_id = (int64_t) take(&data, &size, 8);
	for (int i = 0; i < 16; i++)
		fields.event_id[i] = (uint8_t) take(&data, &size, 1);

	len = token_compose(&fields, keys.signing, (const char *) data, size, bytes);
	if (len == 0)
		return;
	must(token_parse(bytes, len, &read));
	must(read.kind == fields.kind && read.algorithm == fields.algorithm &&
		 read.epoch == fields.epoch && read.expires == fields.expires &&
		 read.creator_id == fields.creator_id && read.link_id == fields.link_id &&
		 read.campaign_id == fields.campaign_id &&
		 memcmp(read.event_id, fields.event_id, 16) == 0);
	must(token_tag_holds(bytes, len, &read, keys.verifying, (const char *) data, size));
	must(size == 0 ||
		 !token_tag_holds(bytes, len, &read, keys.verifying, (const char *) data, size - 1));
	try_bytes(bytes, len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	make_keys();
	try_text((const char *) data, size);
	try_bytes(data, size);
	try_fields(data, size);
	return 0;
}
