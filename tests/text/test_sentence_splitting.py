"""Hard cases of sentence splitting: each case gives the sentences, the text is their join."""

import time
import unicodedata

import pytest

from albert_tf.pipelines.text import sentence_splitting
from albert_tf.pipelines.text.sentence_splitting import cut_long_sentence, split_sentences

CASES = {
    "title_and_price": ["Mr. Wickham paid $3.50."],
    "titles": ["Dr. No met Mrs. Peel and Prof. X at St. James.", "They left."],
    "military": ["Maj. Gen. Smith and Lt. Col. Jones met Capt. Hook."],
    "title_before_quote": ["He called Dr. \"Bones\" McCoy."],
    "initials": ["J. R. R. Tolkien wrote it.", "C. S. Lewis read it."],
    "closed_initials": ["J.R.R. Tolkien wrote it.", "W.E.B. Du Bois did not."],
    "middle_initial": ["George W. Bush won.", "He stayed until 2009."],
    "initial_at_end": ["It ended World War I.", "The treaty came later."],
    "vitamin": ["It has much vitamin C.", "It also has iron."],
    "pronoun_i": ["Nobody was sadder than I.", "Father left."],
    "king": ["They served Elizabeth I. Clifford was her man."],
    "country": ["The U.S. Army is in the U.S. Embassy."],
    "country_at_end": ["They moved to the U.S.", "The house was sold."],
    "washington": ["He lives in Washington, D.C.", "He works there too."],
    "latin": ["Some fruit, e.g. Apples, i.e. Malus, cf. Smith, grow here."],
    "et_al": ["Smith et al. Showed nothing of it."],
    "et_cetera": ["They sold apples, pears, etc.", "Nobody came."],
    "et_cetera_inside": ["They sold apples, etc. to the people."],
    "versus": ["It was Brown vs. Board of Education.", "It changed the law."],
    "court_case": ["The rule is from Sibron v. New York."],
    "no_break_space": ["It was W.\xa0O. Smith."],
    "company": ["Apple Inc. Paris office opened.", "Nobody went."],
    "company_at_end": ["She worked for Acme Ltd.", "The firm closed."],
    "company_inside": ["Smith & Co. made it."],
    "junior": ["Martin Luther King Jr. Boulevard is long."],
    "number": ["He lived at No. 10 Downing Street, vol. 3, pp. 4-5, Fig. 2."],
    "answer_no": ["No.", "I will not."],
    "answer_no_quoted": ['"No."', '"Yes."'],
    "circa": ["He was born c. 1340 and died d. 1400."],
    "month": ["On Jan. 5 he came, on Sept. 3 he left."],
    "time": ["He came at 5 p.m. Tuesday.", "She slept."],
    "time_at_end": ["He came at 5 p.m.", "The door was shut."],
    "decimal": ["It costs 3.14 or .5 times 1,000.25 of it.", "It works."],
    "year_at_end": ["It was built in 1990.", "The roof is new."],
    "number_starts": ["He won in 2001.", "12 people saw it."],
    "percent": ["It rose by 5%.", "Then it fell."],
    "ellipsis": ["Well... he did not know."],
    "ellipsis_then_capital": ["He waited...", "Nothing came."],
    "ellipsis_then_pronoun": ["Well... I do not know."],
    "spaced_ellipsis": ["He waited . . . and waited . . . .", "Nothing came."],
    "unicode_ellipsis": ["He waited…", "Nothing came."],
    "quote_then_speaker": ['"Come!" she said.', "He came."],
    "quote_question": ['"Why did you come?" she said to the strange woman.'],
    "quote_then_name": ['"Come!" Mary cried.', "He came."],
    "quote_then_titled_name": ['"Who is it?" Mrs. Medlock asked.'],
    "quote_then_i": ["'Black Dog?' I asked.", "He nodded."],
    "quote_then_new_sentence": ['"Come!"', "She took the lamp."],
    "stop_in_quotes": ['He said, "It is late."', "She left."],
    "curly_quotes": ["He said, “It is late.”", "“So it is.”", "‘Yes!’"],
    "two_in_one_quote": ['"I will not let you stay.', 'Send my Ayah to me."'],
    "exclamation_inside": ["Oh! what a night it was!", "He slept."],
    "question_marks": ["What?!", "Is that so??", "Yes."],
    "brackets": ["(He was there.)", "She was not (at all).", "[It rained.]"],
    "bracket_inside": ["He (Mr. Smith, b. 1920) wrote (see p. 5) it."],
    "reference": ["It was proved.[12]", "Nobody read it."],
    "enumeration": ["1. Open the door.", "2. Close it."],
    "letter_enumeration": ["A. Open the door.", "B. Close it."],
    "bracketed_enumeration": ["He must (1) wait, (2) go.", "That is all."],
    "internet": ["See www.example.com or https://a.org/x.html?y=Z.A for it.", "Then go."],
    "file_name": ["Node.js and Mail.Ru are names."],
    "missing_space": ["It is a parent.", "These are rare."],
    "missing_space_in_name": ["It is on St.Michael's mass."],
    "semicolon": ["He came; she went; they: A and B."],
    "dash": ["He came. - and went.", "They left."],
    "lower_case_follows": ["He wrote for approx. ten years."],
    "accented_capital": ["Il est parti.", "Élise est là."],
    "greek_capital": ["Τέλος.", "Αρχή."],
    "inverted": ["He left.", "¿Por qué?"],
    "chinese": ["他来了。", "她走了！"],
    "degree": ["He holds a Ph.D. in physics.", "She does not."],
    "roman": ["See Chap. IV and Vol. II of it."],
    "street": ["He lives on Fifth Ave.", "The street is long."],
    "footnote_star": ["It was late.*", "He slept."],
    "before_christ": ["It fell in 44 B.C.", "After that it rose."],
    "hyphen_title": ["The Great Lakes-St. Lawrence watershed."],
}  # fmt: skip


def join_case(name):
    """Returns the text of a case; also used by benchmarks/sentence_splitting.py."""
    return ("" if name in ("missing_space", "chinese") else " ").join(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_split_sentences_on_hard_case(name):
    assert split_sentences(join_case(name)) == CASES[name]


LOWERED = [
    ["dr. smith came at 5 p.m. on monday.", "he left u.s. troops behind.", "it was late."],
    [
        "see no. 5 and vol. iv of it.",
        "one by j. smith, e.g. this, is old.",
        "the rest is not.",
    ],
    ['"come here!" she said.', '"why?" asked the old man.', '"i will not."', "nobody moved."],
    ["she waited ... and waited.", "wal-mart stores, inc. of arkansas paid.", "élodie did not."],
    ["a thoughtful , moving film .", "it 's fun ."],
]


@pytest.mark.parametrize("sentences", LOWERED)
def test_text_in_lower_case_is_split(sentences):
    assert split_sentences(" ".join(sentences)) == sentences


def test_split_sentences_treats_line_breaks_as_spaces_and_strips():
    assert split_sentences("  One is here.\n Two is there.\t") == ["One is here.", "Two is there."]


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_split_sentences_of_nothing_is_empty(text):
    assert split_sentences(text) == []


def test_split_sentences_loses_nothing_but_white_space():
    text = " ".join(" ".join(sentences) for sentences in CASES.values())
    joined = "".join("".join(split_sentences(text)).split())
    assert joined == "".join(text.split())


def test_a_text_without_stops_is_cut_at_semicolons_then_commas_then_spaces():
    words = "word " * 30
    parts = cut_long_sentence(words + "; " + words + ", " + words, max_characters=200)
    assert parts[0].endswith(";")
    assert all(len(part) <= 200 for part in parts)
    assert "".join(parts).replace(" ", "") == (words + ";" + words + "," + words).replace(" ", "")


def test_a_text_without_spaces_is_cut_at_the_limit():
    limit = sentence_splitting.MAX_SENTENCE_CHARACTERS
    parts = split_sentences("x" * (2 * limit + 5))
    assert [len(part) for part in parts] == [limit, limit, 5]


def test_chinese_is_cut_at_its_own_commas_and_no_letter_from_its_marks():
    parts = cut_long_sentence("这是一个很长的清单里的条目，" * 40 + "完", max_characters=100)
    assert all(part.endswith(("，", "完")) and len(part) <= 100 for part in parts)
    parts = cut_long_sentence(unicodedata.normalize("NFD", "ế") * 100, max_characters=100)
    assert all(len(part) == 99 for part in parts[:-1]) and len("".join(parts)) == 300
    parts = cut_long_sentence("\N{WOMAN}\u200d\N{PERSONAL COMPUTER}" * 9, max_characters=10)
    assert [len(part) for part in parts] == [9, 9, 9]
    assert "".join(cut_long_sentence("\u0301" * 90, 10)) == "\u0301" * 90


def test_a_stop_of_another_script_says_nothing_of_a_word_that_is_not_in_it():
    polish = ["Grupa śpiewa nową piosenkę.", "Widziałem ją ze swoją córką.", "Potem wróciłam."]
    title = ["To jest zespół モーニング娘。", "z Japonii."]
    assert split_sentences(" ".join(polish + title)) == polish + title
    assert split_sentences("डॉ. राम आए। वे गए।") == ["डॉ. राम आए।", "वे गए।"]


def test_marks_that_nobody_sees_end_no_sentence_and_hide_no_end():
    arabic = ["\u200fهذا كتاب جديد.\u200f", "ذهب الولد إلى المدرسة.\u200f", "\u200fنعم هذا صحيح."]
    assert split_sentences(" ".join(arabic)) == arabic
    english = ["I saw Mr.\u200b Smith.", '\u200f"He left."\u200e', "She stayed."]
    assert split_sentences(" ".join(english)) == english


@pytest.mark.parametrize("mark", "\u061c\u200f\u202a\u202b\u202c\u202e\u2066\u2067\u2069")
def test_no_mark_of_direction_hides_an_end(mark):
    sentences = [f"القاهرة عاصمة مصر.{mark}", f"{mark}وهي مدينة كبيرة.{mark}", "انتهى."]
    assert split_sentences(" ".join(sentences)) == sentences


POLISH = "Widziałem ją wczoraj ze swoją córką. "


@pytest.mark.parametrize("unit", [".", '."', ". ", "!'", '"', " .. ", "A. ", "(", "I. ", POLISH])
def test_time_is_linear_in_pathological_text(unit):
    started = time.process_time()
    assert split_sentences(unit * (300_000 // len(unit)))
    assert time.process_time() - started < 3
