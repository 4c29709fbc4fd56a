from pajax import games, planning, transfers
from pajax.game import Game, make_game, stack_games
