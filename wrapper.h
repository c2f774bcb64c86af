/* What build.rs hands to bindgen: the C header behind src/crypt. */
#include <libcryptsetup.h>
