/*-------------------------------------------------------------------------
 *
 * token.h
 *	  Making and judging biolink tokens from C.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_TOKEN_H
#define BIOLINK_TOKEN_H

#include "biolink.h"
#include "token_core.h"

/* What token_judge() found. */
typedef struct TokenVerdict
{
	bool		valid;
	const char *reason;			/* NULL when valid, else malformed, unknown_key,
								 * revoked_key, bad_signature or expired */
	bool		genuine;		/* the tag holds: fields are true, expired or not */
	TokenFields fields;
} TokenVerdict;

/*
 * Sign fields with the creator's active key (fields->epoch is filled in) and
 * return the token as a palloc'd varlena of type biolink.token.
 */
extern struct varlena *token_sign(TokenFields *fields,
								  const char *audience, size_t audience_len);

/* Unpadded base64url of a token value, palloc'd, NUL-terminated. */
extern char *token_to_cstring(const struct varlena *token);

/*
 * Judge any text (base64url or QR base32); never raises whatever the text.
 * The audience is part of what is signed and must be given exactly.
 */
extern void token_judge(const char *text, size_t len,
						const char *audience, size_t audience_len,
						TimestampTz at, TokenVerdict *verdict);

/*
 * Time as a token states it: whole Unix seconds, rounded down.  False where
 * they do not fit (before 1970, from 2106-02-07 06:28:16 UTC on, infinite).
 */
extern bool token_expiry(TimestampTz at, uint32 *expires);

#endif							/* BIOLINK_TOKEN_H */
