/*-------------------------------------------------------------------------
 *
 * derive.c
 *	  Key derivation, tags and hashes of the biolink v1 formats.
 *
 * Owns the encodings that go into every key, tag and identity hash.  They
 * are promises: a changed byte makes every token and every stored hash void.
 *
 * Invariants:
 *	- What is hashed is always a pre-authentication encoding (the one of
 *	  PASETO), so no two lists of pieces give the same bytes.
 *	- The first piece names the use; no two uses share a name.
 *	- Intermediate states that hold key material are wiped.
 *
 *-------------------------------------------------------------------------
 */
#include "derive.h"

#include <string.h>

static const char *const purpose_names[NUM_KEY_PURPOSES] = {
	[PURPOSE_TOKEN] = "token",
	[PURPOSE_TOKEN_ED25519] = "token-ed25519",
	[PURPOSE_IDENTITY] = "identity",
	[PURPOSE_PASETO] = "paseto",
	[PURPOSE_WEBHOOK] = "webhook",
	[PURPOSE_SEAL] = "seal",
	[PURPOSE_DIGEST] = "digest",
	[PURPOSE_DAY] = "day",
};

/* key_purpose_name returns the name a purpose has in derivations and tables. */
const char *
key_purpose_name(KeyPurpose purpose)
{
	return purpose_names[purpose];
}

/* key_purpose_by_name finds a purpose; false where no purpose is called so. */
bool
key_purpose_by_name(const char *name, KeyPurpose *purpose)
{
	for (int i = 0; i < NUM_KEY_PURPOSES; i++)
	{
		if (strcmp(purpose_names[i], name) == 0)
		{
			*purpose = (KeyPurpose) i;
			return true;
		}
	}
	return false;
}

/* store_le64 writes a length of the encoding, its top bit clear as PASETO asks. */
static void
store_le64(uint8_t out[8], uint64_t value)
{
	value &= UINT64_C(0x7FFFFFFFFFFFFFFF);
	for (int i = 0; i < 8; i++)
		out[i] = (uint8_t) (value >> (8 * i));
}

/* store_be writes the low nbytes of value, most significant first. */
static void
store_be(uint8_t *out, uint64_t value, int nbytes)
{
	for (int i = nbytes - 1; i >= 0; i--)
	{
		out[i] = (uint8_t) value;
		value >>= 8;
	}
}

/* pae_length returns the length of the encoding of pieces. */
size_t
pae_length(const Bytes *pieces, int npieces)
{
	size_t		length = 8;

	for (int i = 0; i < npieces; i++)
		length += 8 + pieces[i].len;
	return length;
}

/* pae_write writes the encoding of pieces, pae_length() bytes. */
void
pae_write(const Bytes *pieces, int npieces, uint8_t *out)
{
	store_le64(out, (uint64_t) npieces);
	out += 8;
	for (int i = 0; i < npieces; i++)
	{
		store_le64(out, pieces[i].len);
		out += 8;
		if (pieces[i].len > 0)
			memcpy(out, pieces[i].data, pieces[i].len);
		out += pieces[i].len;
	}
}

/* derive_subkey works out the key of one purpose, creator and epoch. */
void
derive_subkey(const uint8_t root[ROOT_KEY_BYTES], KeyPurpose purpose,
			  uint64_t creator_id, uint16_t epoch,
			  uint8_t subkey[SUBKEY_BYTES])
{
	const char *name = purpose_names[purpose];
	uint8_t		creator_bytes[8];
	uint8_t		epoch_bytes[2];
	uint8_t		message[8 + 8 + 7 + 8 + 16 + 8 + 8 + 8 + 2];
	const Bytes pieces[] = {
		{"bl1.key", 7},
		{name, strlen(name)},
		{creator_bytes, sizeof(creator_bytes)},
		{epoch_bytes, sizeof(epoch_bytes)},
	};

	store_be(creator_bytes, creator_id, 8);
	store_be(epoch_bytes, epoch, 2);
	pae_write(pieces, 4, message);
	crypto_generichash(subkey, SUBKEY_BYTES,
					   message, pae_length(pieces, 4),
					   root, ROOT_KEY_BYTES);
}

/* derive_fingerprint works out the public name of a root key. */
void
derive_fingerprint(const uint8_t root[ROOT_KEY_BYTES],
				   uint8_t fingerprint[FINGERPRINT_BYTES])
{
	uint8_t		message[8 + 8 + 15];
	const Bytes pieces[] = {{"bl1.fingerprint", 15}};

	pae_write(pieces, 1, message);
	crypto_generichash(fingerprint, FINGERPRINT_BYTES,
					   message, sizeof(message),
					   root, ROOT_KEY_BYTES);
}

/* derive_key_pair expands a seed to an Ed25519 key pair. */
void
derive_key_pair(const uint8_t seed[SUBKEY_BYTES],
				uint8_t secret_key[SECRET_KEY_BYTES],
				uint8_t public_key[PUBLIC_KEY_BYTES])
{
	crypto_sign_seed_keypair(public_key, secret_key, seed);
}

/* hash_key_prepare does what depends on the key alone. */
void
hash_key_prepare(const uint8_t key[SUBKEY_BYTES], HashKey *hash_key)
{
	crypto_auth_hmacsha256_init(&hash_key->state, key, SUBKEY_BYTES);
}

/* hash_key_hash16 is the tag and hash function of the formats. */
void
hash_key_hash16(const HashKey *hash_key, const Bytes *pieces, int npieces,
				uint8_t out[DERIVED_HASH_BYTES])
{
	crypto_auth_hmacsha256_state state = hash_key->state;
	uint8_t		length[8];
	uint8_t		full[crypto_auth_hmacsha256_BYTES];

	store_le64(length, (uint64_t) npieces);
	crypto_auth_hmacsha256_update(&state, length, sizeof(length));
	for (int i = 0; i < npieces; i++)
	{
		store_le64(length, pieces[i].len);
		crypto_auth_hmacsha256_update(&state, length, sizeof(length));
		if (pieces[i].len > 0)
			crypto_auth_hmacsha256_update(&state, pieces[i].data, pieces[i].len);
	}
	crypto_auth_hmacsha256_final(&state, full);
	memcpy(out, full, DERIVED_HASH_BYTES);
	sodium_memzero(&state, sizeof(state));
	sodium_memzero(full, sizeof(full));
}

/* derive_idhash works out the identity hash of an identifier's SHA-256. */
void
derive_idhash(const HashKey *identity_key,
			  const char *kind, size_t kind_len,
			  const uint8_t sha256[32],
			  uint8_t out[DERIVED_HASH_BYTES])
{
	const Bytes pieces[] = {
		{"bl1.id", 6},
		{kind, kind_len},
		{sha256, 32},
	};

	hash_key_hash16(identity_key, pieces, 3, out);
}

/* sha256_of hashes data once. */
void
sha256_of(const void *data, size_t len, uint8_t out[32])
{
	crypto_hash_sha256(out, data, len);
}
