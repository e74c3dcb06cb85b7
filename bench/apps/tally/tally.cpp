// The program of docs/object-mode-in-ten-minutes.md. Every booking looks up a rate and changes an account, both drawn
// at random; nodes share all accounts and all rates. Four forms of it differ only in how they get at the two:
//   app_tally --form plain|borrow|own|call
#include <dsm/delegate.h>

#include <chrono>
#include <cstdio>
#include <mutex>
#include <string>
#include <vector>

#include "support/command_line.h"

namespace {

struct Account {
  std::uint64_t balance = 0;
  std::uint64_t bookings = 0;
  std::uint64_t pad[6]{};
};
struct Rate {
  std::uint64_t price = 3;
  std::uint64_t pad[7]{};
};

struct Settings {
  std::string form = "plain";
  std::size_t accounts = 1024;
  std::size_t rates = 1024;
  std::size_t bookings = 2000;
};

struct World {
  dsm::barrier barrier{dsm::nodes()};
  dsm::mutex mutex;
  alignas(4096) std::uint64_t owners[4096];
};

std::size_t draw(std::uint64_t& state, std::size_t most) {
  state = state * 6364136223846793005U + 1442695040888963407U;
  return (state >> 33) % most;
}

template <typename T>
T* array(const char* name, std::size_t count) {
  if (dsm::node() == 0) {
    auto* const block = static_cast<T*>(dsm::alloc(count * sizeof(T), 4096));
    for (std::size_t i = 0; i < count; ++i) ::new (&block[i]) T;
    dsm::publish(name, block);
  }
  return static_cast<T*>(dsm::lookup(name));
}

// book(account, rate) for each booking of this node; in seconds.
template <typename Book>
double measure(World& world, const Settings& settings, Book book) {
  std::uint64_t state = dsm::node() + 1;
  world.barrier.arrive_and_wait();
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < settings.bookings; ++i) {
    const std::size_t account = draw(state, settings.accounts);
    book(account, draw(state, settings.rates));
  }
  dsm::flush();
  world.barrier.arrive_and_wait();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Shared memory as it is, and a lock.
double plain(World& world, const Settings& settings, Account* accounts, const Rate* rates) {
  return measure(world, settings, [&](std::size_t a, std::size_t r) {
    const std::lock_guard guard(world.mutex);
    accounts[a].balance += rates[r].price;
    accounts[a].bookings += 1;
  });
}

// L1: the same memory; borrows say which object is used, and how. The mutable one is the lock.
double borrow(World& world, const Settings& settings, Account* accounts, const Rate* rates) {
  return measure(world, settings, [&](std::size_t a, std::size_t r) {
    const std::uint64_t price = dsm::borrow_shared(&rates[r])->price;
    auto account = dsm::borrow_mut(&accounts[a]);
    account->balance += price;
    account->bookings += 1;
  });
}

// L2: rates are owned, so that a copy which this node has needs no question to their home.
std::vector<dsm::own_ptr<Rate>> owned_rates(World& world, const Settings& settings) {
  if (dsm::node() == 0) {
    for (std::size_t i = 0; i < settings.rates; ++i) world.owners[i] = dsm::make_owned<Rate>().leak();
  }
  world.barrier.arrive_and_wait();
  std::vector<dsm::own_ptr<Rate>> rates;
  for (std::size_t i = 0; i < settings.rates; ++i) rates.push_back(dsm::own_ptr<Rate>::adopt(world.owners[i]));
  return rates;
}
double own(World& world, const Settings& settings, Account* accounts) {
  auto rates = owned_rates(world, settings);
  const double took = measure(world, settings, [&](std::size_t a, std::size_t r) {
    const std::uint64_t price = dsm::borrow_shared(rates[r])->price;
    auto account = dsm::borrow_mut(&accounts[a]);
    account->balance += price;
    account->bookings += 1;
  });
  for (auto& rate : rates) rate.leak();  // all nodes have them; the job's end frees them
  return took;
}

// And the accounts, which everybody changes, stay where they are: the booking goes to them.
double call(World& world, const Settings& settings, Account* accounts) {
  auto rates = owned_rates(world, settings);
  const double took = measure(world, settings, [&](std::size_t a, std::size_t r) {
    const std::uint64_t price = dsm::borrow_shared(rates[r])->price;
    dsm::call_at_async(
        &accounts[a],
        [](Account& account, std::uint64_t by) {
          account.balance += by;
          account.bookings += 1;
        },
        price);
  });
  for (auto& rate : rates) rate.leak();
  return took;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  dsm::support::CommandLine cli("Bookings on shared accounts, in four forms of the same program.");
  cli.option("--form", settings.form, "plain, borrow, own or call").one_of({"plain", "borrow", "own", "call"});
  cli.option("--accounts", settings.accounts).range(1, 1 << 20);
  cli.option("--rates", settings.rates).range(1, 4096);
  cli.option("--bookings", settings.bookings, "of each node");
  if (const auto status = cli.parse(argc, argv)) return *status;
  if (dsm::start()) return 69;
  if (dsm::node() == 0) dsm::publish("world", ::new (dsm::alloc(sizeof(World), 4096)) World);
  World& world = *static_cast<World*>(dsm::lookup("world"));
  auto* const accounts = array<Account>("accounts", settings.accounts);
  const auto* const rates = array<Rate>("rates", settings.rates);
  const double took = settings.form == "plain"    ? plain(world, settings, accounts, rates)
                      : settings.form == "borrow" ? borrow(world, settings, accounts, rates)
                      : settings.form == "own"    ? own(world, settings, accounts)
                                                  : call(world, settings, accounts);
  if (dsm::node() != 0) return 0;
  std::uint64_t bookings = 0, balance = 0;
  for (std::size_t i = 0; i < settings.accounts; ++i) {
    bookings += accounts[i].bookings;
    balance += accounts[i].balance;
  }
  const std::uint64_t expected = settings.bookings * dsm::nodes();
  std::printf("%s: %.1f thousand bookings a second\n", settings.form.c_str(),
              static_cast<double>(expected) / took / 1e3);
  if (bookings == expected && balance == 3 * expected) return 0;
  std::fprintf(stderr, "app_tally: %lu bookings and a balance of %lu, not %lu and %lu\n", bookings, balance, expected,
               3 * expected);
  return 1;
}
