// Host 0's side of a meeting: takes who comes until every host is there. Whoever comes may be anybody: silence,
// nonsense and wrong keys are refused without disturbing the others.
#pragma once

#include <list>
#include <optional>

#include "hosts/meeting.h"

namespace dsm::hosts {

class HostZero {
 public:
  HostZero(const Plan& plan, const JobKey& key) : plan_(plan), key_(key), present_(plan.hosts) {}

  tl::expected<Met, cluster::Obstacle> run();

 private:
  struct Guest {
    Channel channel;
    std::int64_t deadline_ns;
    bool leaves = false;
  };
  struct Present {
    Channel channel;
    unsigned nodes;
  };

  void wait(std::int64_t deadline_ns);
  void accept_all();
  void hear(Guest& guest);
  void refuse(Guest& guest, Refused::Reason reason, const std::string& text, const std::string& why);
  std::string objection(const Hello& hello) const;
  std::string objection_to_number(unsigned more) const;
  void drop_those_who_left();
  unsigned missing() const;
  Met welcome();

  const Plan& plan_;
  const JobKey& key_;
  cluster::UniqueFd listener_;
  std::list<Guest> guests_;
  std::vector<std::optional<Present>> present_;  // [0] stays empty
  int lines_left_ = 20;                          // a flood of strangers must not become a flood of log lines
};

}  // namespace dsm::hosts
