// libunwind, as far as the runtime knows it, without libunwind: its shared library would bring _Unwind_ functions of
// its own in front of the program's, and its archive cannot go into a shared library. It names the call sites of
// borrows, of which an unmodified program has none; a message that wanted one goes without.
#define UNW_LOCAL_ONLY
#include <libunwind.h>

extern "C" {
int _Ux86_64_getcontext(unw_tdep_context_t*) { return -1; }  // what unw_getcontext() is
int unw_init_local(unw_cursor_t*, unw_context_t*) { return -UNW_EUNSPEC; }
int unw_backtrace(void**, int) { return 0; }
int unw_set_reg(unw_cursor_t*, int, unw_word_t) { return -UNW_EUNSPEC; }
int unw_get_proc_name(unw_cursor_t*, char*, size_t, unw_word_t*) { return -UNW_EUNSPEC; }
}
