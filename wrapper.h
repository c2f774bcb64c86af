/* What build.rs hands to bindgen: every C header behind src/ffi.rs. */
#include <libzfs.h>
#include <libzfs_core.h>
#include <libzutil.h>
#include <zfs_prop.h>
#include <sys/systeminfo.h> /* get_system_hostid */

#ifdef ZBACKUP_CRYPTSETUP
#include <libcryptsetup.h>
#endif
