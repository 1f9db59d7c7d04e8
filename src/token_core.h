/*-------------------------------------------------------------------------
 *
 * token_core.h
 *	  The byte layout and the text forms of biolink tokens.
 *
 * Pure: libsodium only.  Every length is checked here, before any byte is
 * read.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_TOKEN_CORE_H
#define BIOLINK_TOKEN_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "derive.h"

typedef enum TokenKind
{
	TOKEN_SESSION = 0,
	TOKEN_REDIRECT = 1,
	TOKEN_RECEIPT = 2
} TokenKind;

#define NUM_TOKEN_KINDS		3

typedef enum TokenAlgorithm
{
	TOKEN_HMAC = 0,
	TOKEN_ED25519 = 1
} TokenAlgorithm;

#define NUM_TOKEN_ALGORITHMS	2

#define TOKEN_MAX_BODY		41
#define TOKEN_MAX_BYTES		105
#define TOKEN_MAX_TEXT		140		/* base64url, without a NUL */
#define TOKEN_MAX_QR		168		/* base32, without a NUL */

/* What a token says, tag apart. */
typedef struct TokenFields
{
	TokenKind	kind;
	TokenAlgorithm algorithm;
	uint16_t	epoch;
	uint8_t		event_id[16];
	uint32_t	expires;		/* Unix seconds */
	int64_t		creator_id;
	int64_t		link_id;		/* 0 for none, always 0 in a session token */
	int64_t		campaign_id;
} TokenFields;

/* The key of a token; which of the two is read follows from the algorithm. */
typedef struct TokenKey
{
	const HashKey *hmac;
	const uint8_t *ed25519;		/* secret key to sign, public key to verify */
} TokenKey;

extern const char *token_kind_name(TokenKind kind);
extern bool token_kind_by_name(const char *name, TokenKind *kind);
extern const char *token_algorithm_name(TokenAlgorithm algorithm);
extern bool token_algorithm_by_name(const char *name, TokenAlgorithm *algorithm);

/* The purpose of the key that signs with an algorithm. */
extern KeyPurpose token_key_purpose(TokenAlgorithm algorithm);

/* Length of a whole token, body and tag. */
extern size_t token_length(TokenKind kind, TokenAlgorithm algorithm);

/*
 * Write body and tag; returns the length, 0 where a field does not fit or
 * memory is short.
 */
extern size_t token_compose(const TokenFields *fields, TokenKey key,
							const char *audience, size_t audience_len,
							uint8_t out[TOKEN_MAX_BYTES]);

/* Read the body; false unless version, kind, algorithm, flags and length are all known and agree. */
extern bool token_parse(const uint8_t *token, size_t len, TokenFields *fields);

/* Does the tag of a token that token_parse() took hold? */
extern bool token_tag_holds(const uint8_t *token, size_t len,
							const TokenFields *fields, TokenKey key,
							const char *audience, size_t audience_len);

/*
 * Text forms, both strict: exactly one text for each value.  The encoders
 * return the length (out is NUL-terminated too), the decoders 0 on any fault.
 */
extern size_t token_encode(const uint8_t *token, size_t len,
						   char out[TOKEN_MAX_TEXT + 1]);
extern size_t token_decode(const char *text, size_t len,
						   uint8_t out[TOKEN_MAX_BYTES]);
extern size_t token_qr_encode(const uint8_t *token, size_t len,
							  char out[TOKEN_MAX_QR + 1]);
extern size_t token_qr_decode(const char *text, size_t len,
							  uint8_t out[TOKEN_MAX_BYTES]);

/* Either text form; their lengths differ, so no text can be both. */
extern size_t token_decode_any(const char *text, size_t len,
							   uint8_t out[TOKEN_MAX_BYTES]);

#endif							/* BIOLINK_TOKEN_CORE_H */
