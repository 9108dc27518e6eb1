/*
 * What stands for the weak hashes in our libcrypt: nothing. crypt(3) writes the token for a failure, which no
 * hash is equal to, before it calls one of these.
 */

#define NO_HASH(name)                           \
	void _crypt_crypt_##name##_rn(void);    \
	void _crypt_gensalt_##name##_rn(void);  \
	void _crypt_crypt_##name##_rn(void) {}  \
	void _crypt_gensalt_##name##_rn(void) {}

NO_HASH(bigcrypt)
NO_HASH(bsdicrypt)
NO_HASH(descrypt)
NO_HASH(gost_yescrypt)
NO_HASH(md5crypt)
NO_HASH(nt)
NO_HASH(scrypt)
NO_HASH(sha1crypt)
NO_HASH(sunmd5)
