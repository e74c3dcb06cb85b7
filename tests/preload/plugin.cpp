// A library that `corners libraries` opens and closes again and again.
#include <string>

namespace {
thread_local std::string per_thread(500, 'p');
const std::string* const at_load = new std::string(500, 'l');
}  // namespace

extern "C" [[gnu::visibility("default")]] std::string* plugin_make() { return new std::string(*at_load + per_thread); }
