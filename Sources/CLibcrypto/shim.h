// SHA-256 with a context that lives on the stack and copies as a value. OpenSSL 3 marks this interface as deprecated in
// favour of EVP, whose contexts are heap objects: one allocation per hash is what we avoid.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#include <openssl/evp.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

// What Swift cannot call: macros and variadic functions.

/// A new RSA key with e = 65537, or null.
static inline EVP_PKEY *muster_rsa_generate(int bits) { return EVP_RSA_gen((size_t)bits); }

/// PKCS #8 DER of a private key into a new buffer for `muster_openssl_free`: its length, or a negative number.
static inline int muster_pkcs8_der(EVP_PKEY *key, unsigned char **der) {
  PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
  if (info == NULL) return -1;
  int length = i2d_PKCS8_PRIV_KEY_INFO(info, der);
  PKCS8_PRIV_KEY_INFO_free(info);
  return length;
}

/// A private key from PKCS #8 DER, or null; `der` may not hold anything else.
static inline EVP_PKEY *muster_pkcs8_key(const unsigned char *der, long length) {
  const unsigned char *end = der;
  PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &end, length);
  if (info == NULL) return NULL;
  EVP_PKEY *key = end == der + length ? EVP_PKCS82PKEY(info) : NULL;
  PKCS8_PRIV_KEY_INFO_free(info);
  return key;
}

static inline void muster_openssl_free(void *memory) { OPENSSL_free(memory); }
