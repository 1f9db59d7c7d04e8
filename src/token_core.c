/*-------------------------------------------------------------------------
 *
 * token_core.c
 *	  The byte layout and the text forms of biolink tokens.
 *
 * Owns the format of version 1 (big-endian):
 *
 *	offset	length	field
 *	0		1		version 1 in the high nibble, kind in the low one
 *	1		1		algorithm in bits 7-6, flags (none known) in bits 5-0
 *	2		2		key epoch
 *	4		16		event id
 *	20		4		expiry, Unix seconds
 *	24		5		creator id
 *	29		6 + 6	link id and campaign id (not in a session token)
 *	end		16 | 64	tag over PAE("bl1", body, audience)
 *
 * Invariants:
 *	- A token has one text in each form: every length is a multiple of three
 *	  (base64url has no spare bits then), and spare bits of base32 must be 0.
 *	- Nothing is accepted that token_compose() would not write, the tag apart.
 *
 *-------------------------------------------------------------------------
 */
#include "token_core.h"

#include <stdlib.h>
#include <string.h>

#define TOKEN_VERSION		1
#define SESSION_BODY_BYTES	29
#define FLAGS_MASK			0x3F

#define MAX_CREATOR			((INT64_C(1) << 40) - 1)
#define MAX_OBJECT			((INT64_C(1) << 48) - 1)

static const char *const kind_names[NUM_TOKEN_KINDS] = {
	[TOKEN_SESSION] = "session",
	[TOKEN_REDIRECT] = "redirect",
	[TOKEN_RECEIPT] = "receipt",
};

static const char *const algorithm_names[NUM_TOKEN_ALGORITHMS] = {
	[TOKEN_HMAC] = "hmac",
	[TOKEN_ED25519] = "ed25519",
};

static const char base32_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/*
 * What a byte stands for in base64url, plus one; 0 for what is no digit.
 * libsodium's decoder would do, but is five times slower (a fifth of what
 * verifying a token takes) and, at 1.0.18, takes bytes from 0x80 on for digits.
 */
static const uint8_t base64_values[256] = {
	['A'] = 1, ['B'] = 2, ['C'] = 3, ['D'] = 4, ['E'] = 5, ['F'] = 6, ['G'] = 7, ['H'] = 8,
	['I'] = 9, ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
	['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
	['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
	['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
	['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
	['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
	['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['-'] = 63, ['_'] = 64,
};

/* token_kind_name returns what SQL calls a kind. */
const char *
token_kind_name(TokenKind kind)
{
	return kind_names[kind];
}

/* token_kind_by_name finds a kind; false where none is called so. */
bool
token_kind_by_name(const char *name, TokenKind *kind)
{
	for (int i = 0; i < NUM_TOKEN_KINDS; i++)
	{
		if (strcmp(kind_names[i], name) == 0)
		{
			*kind = (TokenKind) i;
			return true;
		}
	}
	return false;
}

/* token_algorithm_name returns what SQL calls an algorithm. */
const char *
token_algorithm_name(TokenAlgorithm algorithm)
{
	return algorithm_names[algorithm];
}

/* token_algorithm_by_name finds an algorithm; false where none is called so. */
bool
token_algorithm_by_name(const char *name, TokenAlgorithm *algorithm)
{
	for (int i = 0; i < NUM_TOKEN_ALGORITHMS; i++)
	{
		if (strcmp(algorithm_names[i], name) == 0)
		{
			*algorithm = (TokenAlgorithm) i;
			return true;
		}
	}
	return false;
}

/*
 * token_key_purpose gives each algorithm a key of its own, so that a tag of
 * one can never be passed off as one of the other.
 */
KeyPurpose
token_key_purpose(TokenAlgorithm algorithm)
{
	return algorithm == TOKEN_ED25519 ? PURPOSE_TOKEN_ED25519 : PURPOSE_TOKEN;
}

/* body_length returns the length of the signed part. */
static size_t
body_length(TokenKind kind)
{
	return kind == TOKEN_SESSION ? SESSION_BODY_BYTES : TOKEN_MAX_BODY;
}

/* token_length returns the length of body and tag. */
size_t
token_length(TokenKind kind, TokenAlgorithm algorithm)
{
	return body_length(kind) +
		(algorithm == TOKEN_ED25519 ? SIGNATURE_BYTES : TAG_BYTES);
}

/* put_be writes the low nbytes of value, most significant first. */
static void
put_be(uint8_t *out, uint64_t value, int nbytes)
{
	for (int i = nbytes - 1; i >= 0; i--)
	{
		out[i] = (uint8_t) value;
		value >>= 8;
	}
}

/* get_be reads nbytes, most significant first. */
static uint64_t
get_be(const uint8_t *in, int nbytes)
{
	uint64_t	value = 0;

	for (int i = 0; i < nbytes; i++)
		value = (value << 8) | in[i];
	return value;
}

/* fields_fit tells whether every field has a place in the layout. */
static bool
fields_fit(const TokenFields *fields)
{
	if ((unsigned int) fields->kind >= NUM_TOKEN_KINDS ||
		(unsigned int) fields->algorithm >= NUM_TOKEN_ALGORITHMS)
		return false;
	if (fields->creator_id < 0 || fields->creator_id > MAX_CREATOR)
		return false;
	if (fields->link_id < 0 || fields->link_id > MAX_OBJECT ||
		fields->campaign_id < 0 || fields->campaign_id > MAX_OBJECT)
		return false;
	return fields->kind != TOKEN_SESSION ||
		(fields->link_id == 0 && fields->campaign_id == 0);
}

/* ed25519_message builds what is signed, in room if it fits there; NULL when memory is short. */
static uint8_t *
ed25519_message(const Bytes *pieces, int npieces,
				uint8_t *room, size_t room_len, size_t *len)
{
	uint8_t    *message = room;

	*len = pae_length(pieces, npieces);
	if (*len > room_len)
	{
		message = malloc(*len);
		if (message == NULL)
			return NULL;
	}
	pae_write(pieces, npieces, message);
	return message;
}

/* token_compose writes a whole token. */
size_t
token_compose(const TokenFields *fields, TokenKey key,
			  const char *audience, size_t audience_len,
			  uint8_t out[TOKEN_MAX_BYTES])
{
	size_t		body_len;
	Bytes		pieces[3];

	if (!fields_fit(fields))
		return 0;

	body_len = body_length(fields->kind);
	out[0] = (uint8_t) (TOKEN_VERSION << 4 | fields->kind);
	out[1] = (uint8_t) (fields->algorithm << 6);
	put_be(out + 2, fields->epoch, 2);
	memcpy(out + 4, fields->event_id, 16);
	put_be(out + 20, fields->expires, 4);
	put_be(out + 24, (uint64_t) fields->creator_id, 5);
	if (fields->kind != TOKEN_SESSION)
	{
		put_be(out + 29, (uint64_t) fields->link_id, 6);
		put_be(out + 35, (uint64_t) fields->campaign_id, 6);
	}

	pieces[0] = (Bytes) {"bl1", 3};
	pieces[1] = (Bytes) {out, body_len};
	pieces[2] = (Bytes) {audience, audience_len};

	if (fields->algorithm == TOKEN_ED25519)
	{
		uint8_t		room[512];
		size_t		message_len;
		uint8_t    *message = ed25519_message(pieces, 3, room, sizeof(room),
											  &message_len);

		if (message == NULL)
			return 0;
		crypto_sign_detached(out + body_len, NULL, message, message_len,
							 key.ed25519);
		if (message != room)
			free(message);
		return body_len + SIGNATURE_BYTES;
	}

	hash_key_hash16(key.hmac, pieces, 3, out + body_len);
	return body_len + TAG_BYTES;
}

/* token_parse reads the body of a token and refuses what is not of version 1. */
bool
token_parse(const uint8_t *token, size_t len, TokenFields *fields)
{
	unsigned int kind;
	unsigned int algorithm;

	if (len < 2)
		return false;
	kind = token[0] & 0x0F;
	algorithm = token[1] >> 6;
	if (token[0] >> 4 != TOKEN_VERSION || kind >= NUM_TOKEN_KINDS ||
		algorithm >= NUM_TOKEN_ALGORITHMS || (token[1] & FLAGS_MASK) != 0)
		return false;
	if (len != token_length((TokenKind) kind, (TokenAlgorithm) algorithm))
		return false;

	memset(fields, 0, sizeof(*fields));
	fields->kind = (TokenKind) kind;
	fields->algorithm = (TokenAlgorithm) algorithm;
	fields->epoch = (uint16_t) get_be(token + 2, 2);
	memcpy(fields->event_id, token + 4, 16);
	fields->expires = (uint32_t) get_be(token + 20, 4);
	fields->creator_id = (int64_t) get_be(token + 24, 5);
	if (fields->kind != TOKEN_SESSION)
	{
		fields->link_id = (int64_t) get_be(token + 29, 6);
		fields->campaign_id = (int64_t) get_be(token + 35, 6);
	}
	return true;
}

/* token_tag_holds checks the tag, in a time that does not tell where it differs. */
bool
token_tag_holds(const uint8_t *token, size_t len,
				const TokenFields *fields, TokenKey key,
				const char *audience, size_t audience_len)
{
	size_t		body_len = body_length(fields->kind);
	const Bytes pieces[] = {
		{"bl1", 3},
		{token, body_len},
		{audience, audience_len},
	};

	if (len != token_length(fields->kind, fields->algorithm))
		return false;

	if (fields->algorithm == TOKEN_ED25519)
	{
		uint8_t		room[512];
		size_t		message_len;
		uint8_t    *message = ed25519_message(pieces, 3, room, sizeof(room),
											  &message_len);
		bool		holds;

		if (message == NULL)
			return false;
		holds = crypto_sign_verify_detached(token + body_len, message,
											message_len, key.ed25519) == 0;
		if (message != room)
			free(message);
		return holds;
	}
	else
	{
		uint8_t		tag[TAG_BYTES];

		hash_key_hash16(key.hmac, pieces, 3, tag);
		return sodium_memcmp(tag, token + body_len, TAG_BYTES) == 0;
	}
}

/*
 * token_encode writes unpadded base64url.  By a table: a token is sent in the
 * open, so libsodium's constant time would buy nothing.
 */
size_t
token_encode(const uint8_t *token, size_t len, char out[TOKEN_MAX_TEXT + 1])
{
	static const char *const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	char	   *p = out;

	if (len > TOKEN_MAX_BYTES || len % 3 != 0)
		return 0;
	for (size_t i = 0; i < len; i += 3)
	{
		uint32_t	group = (uint32_t) token[i] << 16 | (uint32_t) token[i + 1] << 8 | token[i + 2];

		*p++ = digits[group >> 18];
		*p++ = digits[group >> 12 & 63];
		*p++ = digits[group >> 6 & 63];
		*p++ = digits[group & 63];
	}
	*p = '\0';
	return len / 3 * 4;
}

/* token_decode reads unpadded base64url, no stray character allowed. */
size_t
token_decode(const char *text, size_t len, uint8_t out[TOKEN_MAX_BYTES])
{
	size_t		written = 0;

	/* whole groups of four digits only: so there are no spare bits */
	if (len == 0 || len > TOKEN_MAX_TEXT || len % 4 != 0)
		return 0;

	for (size_t i = 0; i < len; i += 4)
	{
		uint32_t	a = base64_values[(uint8_t) text[i]];
		uint32_t	b = base64_values[(uint8_t) text[i + 1]];
		uint32_t	c = base64_values[(uint8_t) text[i + 2]];
		uint32_t	d = base64_values[(uint8_t) text[i + 3]];
		uint32_t	bits;

		if (a == 0 || b == 0 || c == 0 || d == 0)
			return 0;
		bits = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
		out[written++] = (uint8_t) (bits >> 16);
		out[written++] = (uint8_t) (bits >> 8);
		out[written++] = (uint8_t) bits;
	}
	return written;
}

/* token_qr_encode writes the base32 of RFC 4648, upper case, unpadded: all in QR's alphanumeric set. */
size_t
token_qr_encode(const uint8_t *token, size_t len, char out[TOKEN_MAX_QR + 1])
{
	uint32_t	bits = 0;
	int			nbits = 0;
	size_t		written = 0;

	if (len > TOKEN_MAX_BYTES)
		return 0;
	for (size_t i = 0; i < len; i++)
	{
		bits = bits << 8 | token[i];
		nbits += 8;
		while (nbits >= 5)
		{
			nbits -= 5;
			out[written++] = base32_digits[bits >> nbits & 31];
		}
	}
	if (nbits > 0)
		out[written++] = base32_digits[bits << (5 - nbits) & 31];
	out[written] = '\0';
	return written;
}

/* token_qr_decode reads what token_qr_encode writes and nothing else. */
size_t
token_qr_decode(const char *text, size_t len, uint8_t out[TOKEN_MAX_BYTES])
{
	uint32_t	bits = 0;
	int			nbits = 0;
	size_t		written = 0;
	size_t		out_len = len * 5 / 8;

	/* a length that no whole number of bytes has is refused */
	if (len == 0 || len > TOKEN_MAX_QR || (out_len * 8 + 4) / 5 != len)
		return 0;
	for (size_t i = 0; i < len; i++)
	{
		char		c = text[i];
		uint32_t	digit;

		if (c >= 'A' && c <= 'Z')
			digit = (uint32_t) (c - 'A');
		else if (c >= '2' && c <= '7')
			digit = (uint32_t) (c - '2' + 26);
		else
			return 0;
		bits = bits << 5 | digit;
		nbits += 5;
		if (nbits >= 8)
		{
			nbits -= 8;
			out[written++] = (uint8_t) (bits >> nbits);
		}
	}
	if ((bits & ((UINT32_C(1) << nbits) - 1)) != 0)
		return 0;
	return written;
}

/* token_decode_any tells the forms apart by their lengths: 60, 76, 124, 140 against 72, 92, 149, 168. */
size_t
token_decode_any(const char *text, size_t len, uint8_t out[TOKEN_MAX_BYTES])
{
	switch (len)
	{
		case 60:
		case 76:
		case 124:
		case 140:
			return token_decode(text, len, out);
		case 72:
		case 92:
		case 149:
		case 168:
			return token_qr_decode(text, len, out);
		default:
			return 0;
	}
}
