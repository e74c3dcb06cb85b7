// The runtime's file descriptors in a program that believes to know all of its own: high numbers, out of the way of
// what a program opens or names itself, and safe from programs that close whatever they have not opened.
#pragma once

namespace dsm::preload {

// Until the destructor, new descriptors get numbers from kLeastOwn on (as far as the limit allows), and those that are
// still open then are the runtime's.
class OwnDescriptors {
 public:
  OwnDescriptors();
  ~OwnDescriptors();
  OwnDescriptors(const OwnDescriptors&) = delete;
  OwnDescriptors& operator=(const OwnDescriptors&) = delete;
};

}  // namespace dsm::preload
