//! One path through the model, for what lies deeper than the checker gets.

use stateright::Model;

use crate::model::{Action, LogModel, World};
use crate::world::Fate;

/// Takes `actions` one after another and returns where they lead, or the number of the first that is not possible.
pub fn follow(model: &LogModel, script: &[Action]) -> Result<World, usize> {
    let mut world = model.init_states().remove(0);
    for (number, action) in script.iter().enumerate() {
        let mut possible = Vec::new();
        model.actions(&world, &mut possible);
        let next = possible.contains(action).then(|| model.next_state(&world, *action)).flatten();
        world = next.ok_or(number)?;
    }
    Ok(world)
}

/// An owner goes on `steps` times, and hears of everything.
pub fn go_on(at: usize, steps: usize) -> Vec<Action> {
    vec![Action::Continue(at, Fate::Answered); steps]
}
