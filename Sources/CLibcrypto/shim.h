// SHA-256 with a context that lives on the stack and copies as a value. OpenSSL 3 marks this interface as deprecated in
// favour of EVP, whose contexts are heap objects: one allocation per hash is what we avoid.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
