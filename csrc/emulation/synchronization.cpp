// Where the machine's threads meet: block barriers, warp-wide instructions, and the report when nobody comes.
#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "emulation/machine.h"

namespace maskconv::emulation {
namespace {

bool same(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }
bool same(const Site& a, const Site& b) { return a.line == b.line && same(a.file, b.file); }

}  // namespace

int Machine::barrier(bool predicate, const char* name, const Site& site) {
  Thread& me = self();
  me.state = State::kAtBarrier;
  me.waits_in = name;
  me.site = site;
  predicates_ += predicate;
  if (at_barrier_++ == 0) barrier_site_ = site;
  if (!same(barrier_site_, site)) {
    throw Error(kind::kDivergence,
                "thread arrives at the barrier at " + to_string(site) + " while others wait at the one at " +
                    to_string(barrier_site_),
                {site, barrier_site_});
  }
  if (at_barrier_ == live_) {
    me.state = State::kReady;
    release_barrier();
  } else {
    wait();
  }
  return released_predicates_;
}

void Machine::release_barrier() {
  for (size_t i = 0; i < threads_.size(); ++i) {
    if (threads_[i].state == State::kAtBarrier) make_ready(static_cast<int>(i));
  }
  released_predicates_ = std::exchange(predicates_, 0);
  at_barrier_ = 0;
  ++epoch_;
  ++counters_[Count::kBarriers];
  for (Warp& warp : warps_) warp.requests.flush();
}

// Two lanes that wait for each other in different instructions would wait for ever.
void Machine::refuse_other_meeting(const Thread& other, int other_lane) const {
  const Thread& me = threads_[running_];
  const bool same_meeting =
      same(me.waits_in, other.waits_in) && me.mask == other.mask && same(me.site, other.site);
  if (same_meeting || (other.mask >> lane() & 1) == 0) return;
  throw Error(kind::kDivergence,
              "lane " + std::to_string(lane()) + " arrives at " + me.waits_in + " at " + to_string(me.site) +
                  " while lane " + std::to_string(other_lane) + ", which it waits for, waits in " +
                  other.waits_in + " at " + to_string(other.site),
              {me.site, other.site});
}

void Machine::meet(const char* name, uint32_t mask, void* arguments, Complete complete, const Site& site) {
  Thread& me = self();
  Warp& warp = this->warp();
  const uint32_t mine = 1u << lane();
  if ((mask & mine) == 0) {
    throw Error(kind::kDivergence,
                std::string(name) + " at " + to_string(site) + " by a lane its mask leaves out", {site});
  }
  me.state = State::kInMeeting;
  me.waits_in = name;
  me.site = site;
  me.mask = mask;
  me.arguments = arguments;

  Thread* const lanes = &threads_[running_ - lane()];
  const uint32_t waiting = warp.meeting & mask;
  if (waiting != 0) {
    const int first = std::countr_zero(waiting);
    refuse_other_meeting(lanes[first], first);
  }
  bool complete_now = (waiting | mine) == mask;
  Arguments all{};
  for (uint32_t rest = complete_now ? mask : 0; rest != 0; rest &= rest - 1) {
    const int other = std::countr_zero(rest);
    refuse_other_meeting(lanes[other], other);
    complete_now &= lanes[other].mask == mask;
    all[other] = lanes[other].arguments;
  }
  if (!complete_now) {
    warp.meeting |= mine;
    wait();
    return;
  }
  complete(*this, all, mask);
  if ((mask | warp.exited) == kAllLanes) warp.requests.flush();
  warp.meeting &= ~mask;
  me.state = State::kReady;
  for (uint32_t rest = mask & ~mine; rest != 0; rest &= rest - 1) {
    make_ready(running_ - lane() + std::countr_zero(rest));
  }
}

void Machine::sync_warp(uint32_t mask, const Site& site) {
  const auto join = [](Machine& machine, const Arguments&, uint32_t lanes) {
    WarpClocks& clocks = machine.warp().clocks;
    const int first = machine.running_ - machine.lane();
    uint32_t joined[kWarpSize] = {};
    for (int lane = 0; lane < kWarpSize; ++lane) {
      if ((lanes >> lane & 1) == 0) continue;
      for (int other = 0; other < kWarpSize; ++other) {
        joined[other] = std::max(joined[other], clocks.seen[lane][other]);
      }
      joined[lane] = machine.threads_[first + lane].clock++;
    }
    for (int lane = 0; lane < kWarpSize; ++lane) {
      if (lanes >> lane & 1) std::copy(joined, joined + kWarpSize, clocks.seen[lane]);
    }
  };
  meet("__syncwarp", mask, nullptr, join, site);
}

void Machine::fail_deadlock() const {
  struct Place {
    const Thread* waits;
    int first, count;
  };
  std::vector<Place> places;
  for (size_t i = 0; i < threads_.size(); ++i) {
    const Thread& thread = threads_[i];
    if (thread.state == State::kExited) continue;
    const auto known = std::find_if(places.begin(), places.end(), [&](const Place& place) {
      return place.waits->waits_in == thread.waits_in && same(place.waits->site, thread.site);
    });
    if (known == places.end()) {
      places.push_back({&thread, static_cast<int>(i), 1});
    } else {
      ++known->count;
    }
  }
  std::string message = "no thread can go on:";
  std::vector<Site> sites;
  for (const Place& place : places) {
    message += " " + std::to_string(place.count) + " threads (the first " + std::to_string(place.first) +
               ") wait in " + place.waits->waits_in + " at " + to_string(place.waits->site) + ";";
    sites.push_back(place.waits->site);
  }
  message += " " + std::to_string(threads_.size() - static_cast<size_t>(live_)) + " have exited";
  Error error(kind::kDeadlock, message, sites);
  error.thread = places.front().first;
  throw error;
}

}  // namespace maskconv::emulation
