// What the page side asks of those who work on objects. Each call comes under the page's Entry::lock, on any thread, in
// signal context, too.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "base/types.h"

namespace dsm::runtime {

class ObjectPages {
 public:
  virtual ~ObjectPages() = default;

  // The node has the pages for object work: borrows may begin.
  virtual void entered(PageRange pages) = 0;
  // Whether a borrow may begin in the page now.
  virtual bool open(PageId page) const = 0;
  // Somebody wants the page raw; `wanted_here`: this node's program, too. Closes it: no borrow begins from now on. True
  // when none is under way that the node must finish first; then all that was changed has been written home. False: the
  // end of the last one steps the page with kUsed.
  virtual bool may_leave(PageId page, bool wanted_here) = 0;
  // The page is no more the node's for object work: copies of its objects are worth nothing now.
  virtual void left(PageRange pages) = 0;

  // The program touches a page that the node has for object work: `address` may lie in an object that thread `tid` has
  // borrowed itself, which would wait for itself for ever; that ends the program with a diagnostic. True: the thread
  // has borrowed something else of the page, so the node needs the page alone.
  virtual bool raw_touch(PageId page, std::uintptr_t address, pid_t tid) = 0;
  // Whether borrows go on in the page although the node uses it otherwise (proto::Event::keeps): of threads that wait
  // to touch it raw, while it is here for object work; any, while it is not.
  virtual bool go_on(PageId page) const = 0;
};

}  // namespace dsm::runtime
