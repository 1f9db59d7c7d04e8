/*-------------------------------------------------------------------------
 *
 * seal.c
 *	  Texts that the database keeps and must not show.
 *
 * Owns the format of what is sealed: the key's epoch (2 bytes, big-endian), a
 * random nonce of 24 bytes, and the text under XChaCha20-Poly1305, as libsodium
 * writes it (its tag at the end).  The key is of this nonce alone: twice 16 bytes
 * of HMAC-SHA-256 under the creator's subkey "seal".  The creator and a label of
 * what is sealed are authenticated with it, so that a sealed text moved to
 * another row does not open there.
 *
 * seal_text() and seal_open() run between owner_enter() and owner_leave().
 *
 *-------------------------------------------------------------------------
 */
#include "seal.h"

#include "house.h"
#include "keys.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include <sodium.h>

PG_FUNCTION_INFO_V1(sealed_text);
PG_FUNCTION_INFO_V1(open_sealed);

#define NONCE_BYTES		crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define HEADER_BYTES	(2 + NONCE_BYTES)
#define SEAL_TAG_BYTES	crypto_aead_xchacha20poly1305_ietf_ABYTES

/* creator and label, and the lengths that are written before them */
#define MAX_LABEL_BYTES	400
#define MAX_BESIDE		(3 * 8 + 8 + MAX_LABEL_BYTES)

/* one_time_key derives the key of one nonce. */
static void
one_time_key(const HashKey *key, const uint8 nonce[NONCE_BYTES],
			 uint8 out[crypto_aead_xchacha20poly1305_ietf_KEYBYTES])
{
	for (int half = 0; half < 2; half++)
	{
		uint8		number = (uint8) half;
		Bytes		pieces[3] = {{"bl1.seal", 8}, {nonce, NONCE_BYTES}, {&number, 1}};

		hash_key_hash16(key, pieces, 3, out + half * DERIVED_HASH_BYTES);
	}
}

/* associated writes what is authenticated beside the text; returns its length. */
static size_t
associated(int64 creator_id, const char *label, uint8 out[MAX_BESIDE])
{
	uint8		creator[8];
	Bytes		pieces[2] = {{creator, 8}, {label, strlen(label)}};

	for (int i = 0; i < 8; i++)
		creator[i] = (uint8) ((uint64) creator_id >> (56 - 8 * i));
	if (pae_length(pieces, 2) > MAX_BESIDE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("label of a sealed text is too long")));
	pae_write(pieces, 2, out);
	return pae_length(pieces, 2);
}

/* seal_text seals a text under the creator's active key. */
bytea *
seal_text(int64 creator_id, const char *label, Slice text)
{
	bytea	   *sealed = palloc(VARHDRSZ + HEADER_BYTES + text.len + SEAL_TAG_BYTES);
	uint8	   *bytes = (uint8 *) VARDATA(sealed);
	uint8		key[crypto_aead_xchacha20poly1305_ietf_KEYBYTES];
	uint8		beside[MAX_BESIDE];
	size_t		nbeside = associated(creator_id, label, beside);
	uint16		epoch;
	const HashKey *hash_key = hash_key_for_signing(creator_id, PURPOSE_SEAL, true, &epoch);

	SET_VARSIZE(sealed, VARHDRSZ + HEADER_BYTES + text.len + SEAL_TAG_BYTES);
	bytes[0] = (uint8) (epoch >> 8);
	bytes[1] = (uint8) (epoch & 0xff);
	randombytes_buf(bytes + 2, NONCE_BYTES);
	one_time_key(hash_key, bytes + 2, key);
	crypto_aead_xchacha20poly1305_ietf_encrypt(bytes + HEADER_BYTES, NULL,
											   (const unsigned char *) text.data, text.len,
											   beside, nbeside, NULL, bytes + 2, key);
	key_wipe(key, sizeof(key));
	return sealed;
}

/* seal_open gives back a sealed text; false where it was not sealed so, or its key is gone. */
bool
seal_open(int64 creator_id, const char *label, const bytea *sealed, Slice *text)
{
	const uint8 *bytes = (const uint8 *) VARDATA_ANY(sealed);
	size_t		len = VARSIZE_ANY_EXHDR(sealed);
	uint8		key[crypto_aead_xchacha20poly1305_ietf_KEYBYTES];
	uint8		beside[MAX_BESIDE];
	size_t		nbeside = associated(creator_id, label, beside);
	const HashKey *hash_key;
	uint16		epoch;
	char	   *opened;
	bool		genuine;

	if (len < HEADER_BYTES + SEAL_TAG_BYTES)
		return false;
	epoch = (uint16) (bytes[0] << 8 | bytes[1]);
	if (hash_key_for_verifying(creator_id, PURPOSE_SEAL, epoch, &hash_key) != KEY_OK)
		return false;
	one_time_key(hash_key, bytes + 2, key);
	text->len = len - HEADER_BYTES - SEAL_TAG_BYTES;
	opened = palloc(text->len + 1);
	genuine = crypto_aead_xchacha20poly1305_ietf_decrypt((unsigned char *) opened, NULL, NULL,
														 bytes + HEADER_BYTES, len - HEADER_BYTES,
														 beside, nbeside, bytes + 2, key) == 0;
	key_wipe(key, sizeof(key));
	if (!genuine)
	{
		pfree(opened);
		return false;
	}
	key_verified(creator_id, PURPOSE_SEAL, epoch, NULL);
	opened[text->len] = '\0';
	text->data = opened;
	return true;
}

/* label_argument reads what a text is sealed as. */
static const char *
label_argument(FunctionCallInfo fcinfo)
{
	return text_to_cstring(PG_GETARG_TEXT_PP(1));
}

/* sealed_text seals a text under a key derived for the creator. */
Datum
sealed_text(PG_FUNCTION_ARGS)
{
	OwnerScope	scope;
	text	   *plain = PG_GETARG_TEXT_PP(2);
	MemoryContext outside = CurrentMemoryContext;
	bytea	   *inside;
	bytea	   *result;

	owner_enter(&scope);
	inside = seal_text(PG_GETARG_INT64(0), label_argument(fcinfo), (Slice) {VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain)});
	result = MemoryContextAlloc(outside, VARSIZE(inside));
	memcpy(result, inside, VARSIZE(inside));
	owner_leave(&scope);
	PG_RETURN_BYTEA_P(result);
}

/* open_sealed opens a sealed text; NULL where its key is gone or it was not sealed as this, for this creator. */
Datum
open_sealed(PG_FUNCTION_ARGS)
{
	OwnerScope	scope;
	Slice		opened;
	text	   *result = NULL;
	MemoryContext outside = CurrentMemoryContext;

	owner_enter(&scope);
	if (seal_open(PG_GETARG_INT64(0), label_argument(fcinfo), PG_GETARG_BYTEA_PP(2), &opened))
	{
		MemoryContextSwitchTo(outside);
		result = cstring_to_text_with_len(opened.data, (int) opened.len);
	}
	owner_leave(&scope);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(result);
}
