/* What the build script hands to bindgen: every C header behind this crate. */
#include <libzfs.h>
#include <libzfs_core.h>
#include <libzutil.h>
#include <zfs_prop.h>
#include <sys/systeminfo.h> /* get_system_hostid */
