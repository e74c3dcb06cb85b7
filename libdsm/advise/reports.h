// A report in the forms in which people and programs read it.
#pragma once

#include <string>

#include "advise/advice.h"

namespace dsm::advise {

std::string table_text(const Report& report, std::size_t most);
std::string json_text(const Report& report);

}  // namespace dsm::advise
