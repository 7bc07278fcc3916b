//! The protocol's rules, each taken away on its own. The model must find what every one of them is for.

/// A mistake that an implementation could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A roll moves the head first and creates the segment afterwards. Openers refuse a head whose segment is missing.
    HeadMovedBeforeSegment,
    /// The same, and openers take a missing segment for an empty one.
    HeadMovedBeforeSegmentAndMissingIsEmpty,
    /// Open raises the head on the condition of the epoch alone and goes on with the segment it had read.
    StaleHead,
    /// Open does not look at the head again before it serves.
    NoLastLook,
    /// Open leaves the epoch of the segment alone.
    SegmentNotFenced,
    /// Open reads the tail first and raises the segment's epoch afterwards.
    TailReadBeforeFence,
    /// Unknown is resolved by looking whether the position is taken, by whomever.
    PositionAlone,
    /// Not applied under one's own epoch is called Fenced.
    OwnEpochIsFenced,
    /// An append asks for the next position only, not for the epoch.
    AppendWithoutEpoch,
    /// Reopen takes any head that its process's nonce stands in.
    ReopenByNonceAlone,
    /// Reopen takes the next epoch for its own raise, without comparing the nonce.
    ReopenByEpochAlone,
    /// Reopen goes on with the segment that the owner remembers.
    ReopenRemembersSegment,
    /// An unknown move of the head is taken for a failed one, and appends go on in the old segment.
    UnknownMoveShruggedOff,
    /// An unknown create is repeated, and a segment that shows our own epoch is ours.
    CreateRepeated,
    /// An unknown raise of a segment's epoch is repeated, and a segment that shows our own epoch is fenced.
    FenceRepeated,
    /// An orphaned segment of another process is used as it is.
    OrphanUsed,
    /// An orphaned segment is deleted and its number used again.
    NumberReused,
    /// A read or a rejection is answered from memory.
    NoFenceCheck,
    /// A fence check that began before the request arrived is good enough.
    OldFenceCheck,
    /// The fence check reads the epoch of the owner's segment, and a missing row counts as epoch 0.
    FenceCheckOnSegment,
    /// A row that the table shows counts as checkpointed, without regard to its writer.
    TrimOnShownRows,
    /// Trim is conditional on the epoch alone.
    TrimByEpochAlone,
    /// Segments are deleted although the outcome of the trim is unknown.
    DeleteOnUnknownTrim,
}
