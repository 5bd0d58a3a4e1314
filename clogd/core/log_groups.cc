// SPDX-License-Identifier: GPL-2.0-or-later
// A log of groups (clogd/core/groups.hh): it shares no regions, it lets one node at a time switch an array.
//
// A member that is out of sight keeps its voice and its grant until it can do nothing any more, as its marks would be kept, and until then
// nobody else is let switch: it may have been granted what nobody has seen. A member whose daemon is restarted keeps them until it speaks
// again. A grant that is not answered for a minute ends.
#include <utility>

#include <fmt/format.h>

#include "clogd/core/log.hh"
#include "proto/channel.h"

namespace clogd {

namespace wire = proto::wire;

namespace {
constexpr TimeMs kGrantMs = 60000;  // longer than a SCSI command takes to time out
constexpr uint8_t kNone = wire::GroupVoice::kNone;
std::string group_name(uint8_t group) { return group == kNone ? "no group" : fmt::format("group {}", group + 1); }
}  // namespace

// ---- the kernel says ------------------------------------------------------------------------------------------------------------

void Log::groups(const ev::Groups& e) {
    if (!params_.groups()) return;
    my_voice_ = e.voice;
}

void Log::switched(const ev::Switched& e) {
    if (params_.groups()) my_switch_ = e;
}

// ---- the group says -------------------------------------------------------------------------------------------------------------

void Log::apply_groups(MemberState& from, const wire::GroupVoice& voice) {
    if (!state_.params.groups()) return;
    from.voice.said = voice;
    from.voice.spoke = true;
}

void Log::apply_groups(NodeId sender, const wire::GroupSwitched& s) {
    Groups& g = state_.groups;
    if (!g.holder || s.turn != g.turn) return;  // of a turn that was taken back
    if (sender != g.holder && s.how != CLOG_SWITCH_FAILED) return;
    if (s.how == CLOG_SWITCH_DONE) g.in_use = g.target;
    // Its kernel has forgotten the wish, too, if it has no other by now: who could not is not let again before it asks again.
    else if (auto holder = state_.members.find(g.holder); holder != state_.members.end()) {
        uint8_t& wants = holder->second.voice.said.wants;
        if (wants == g.target || host_.version() < wire::kTurnsSince) wants = kNone;
    }
    if (phase_ == Phase::active && s.how == CLOG_SWITCH_DONE) note(out::Level::notice, fmt::format("node {} has switched the array to {}", g.holder, group_name(g.target)));
    if (phase_ == Phase::active && s.how == CLOG_SWITCH_FAILED)
        note(out::Level::warning, fmt::format("node {} could not switch the array to {}: {} stays in use", g.holder, group_name(g.target), group_name(g.in_use)));
    g.holder = 0;
    g.target = kNone;
}

// After every message and view, on every replica alike: the next turn.
void Log::advance_groups() {
    if (!state_.params.groups()) return;
    Groups& g = state_.groups;
    if (g.holder && !state_.members.contains(g.holder)) {
        g.holder = 0;
        g.target = kNone;
    }
    if (host_.config().planted != Planted::grant_twice && (g.holder || (host_.version() >= wire::kTurnsSince && state_.unseen_grants()))) return;
    std::map<NodeId, Voice> voices;
    for (const auto& [node, m] : state_.members)
        if (m.voice.spoke) voices[node] = m.voice;
    const std::set<NodeId> able = state_.with(Member::active);
    auto grant = choose_switch(voices, able, g.in_use);
    if (!grant && host_.config().planted == Planted::switch_at_wish) {
        for (const auto& [node, voice] : voices)
            if (able.contains(node) && voice.said.wants != g.in_use && voice.reaches(voice.said.wants)) grant = Grant{node, voice.said.wants};
    }
    if (!grant) return;
    g.holder = grant->node;
    g.target = grant->group;
    ++g.turn;
    granted_at_ = host_.now();
    if (phase_ == Phase::active) note(out::Level::info, fmt::format("node {} may switch the array from {} to {}", g.holder, group_name(g.in_use), group_name(g.target)));
}

// ---- while active: what this node has to say ----------------------------------------------------------------------------------

void Log::serve_groups() {
    if (!params_.groups() || !self()) return;
    const Groups& g = state_.groups;
    const NodeId me = host_.config().self;
    if (my_voice_ && my_voice_ != voice_sent_) {
        voice_sent_ = my_voice_;
        host_.send(uuid_, *my_voice_);
    }
    if (my_switch_ && g.holder == me && my_switch_->turn == g.turn) {
        if (switch_sent_ != g.turn) host_.send(uuid_, wire::GroupSwitched{g.turn, my_switch_->how});
        switch_sent_ = g.turn;
    } else if (g.holder && state_.coordinator() == me && switch_sent_ != g.turn && host_.now() >= granted_at_ + kGrantMs) {
        host_.send(uuid_, wire::GroupSwitched{g.turn, CLOG_SWITCH_FAILED});
        switch_sent_ = g.turn;
    }
    if (!channel_.on || !live_luid_) return;
    const uint32_t granted = g.holder == me ? g.target : kNone;
    const uint32_t value = g.in_use | granted << CLOG_GROUP_GRANTED_SHIFT | (g.holder ? CLOG_GROUP_BUSY : 0u) | uint32_t{self()->voice.said.said} << CLOG_GROUP_HEARD_SHIFT;
    if (told_group_ == std::pair(value, g.turn)) return;
    told_group_ = {value, g.turn};
    host_.emit(out::Tell{static_cast<uint32_t>(live_luid_), CLOG_GROUP, {}, value, g.turn});
}

// What was said in an earlier standing may not have been heard.
void Log::speak_again() {
    voice_sent_.reset();
    switch_sent_.reset();
    told_group_.reset();
    granted_at_ = host_.now();
}

}  // namespace clogd
