// libsecp256k1: ECDSA on the curve of BFT-SMaRt's built-in keys, which neither swift-crypto nor BoringSSL has.
#pragma once

#include <secp256k1.h>

/// The flag for contexts that sign and verify; a macro with a cast that Swift does not import.
static const unsigned int muster_secp256k1_context_flags = SECP256K1_CONTEXT_SIGN | SECP256K1_CONTEXT_VERIFY;
/// Points as 65 bytes.
static const unsigned int muster_secp256k1_uncompressed = SECP256K1_EC_UNCOMPRESSED;
