"""Whether an answer is an assistant's refusal: it speaks of itself as a machine, or says that it cannot help. Pure.

Knows the set phrases of a dozen languages, at the beginning of an answer. A person who declines ('I cannot come on
Sunday', 'I cannot answer before noon') refuses nothing: the phrases are about helping, and about what was asked.
"""

from __future__ import annotations

import re

BEGINNING = 300  # characters: later on, it is told, not done

_AS_A_MACHINE = (
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language model)\b",
    r"\bals (?:eine? )?(?:ki\b|künstliche intelligenz|sprachmodell|ki-)",
    r"\ben tant qu['e ]+(?:ia\b|intelligence artificielle|modèle (?:de langage|linguistique|d'ia))",
    r"\bcomo (?:una? )?(?:ia\b|inteligencia artificial|modelo de (?:lenguaje|linguagem)|inteligência artificial)",
    r"\bin quanto (?:ia\b|intelligenza artificiale|modello (?:linguistico|di linguaggio))",
    r"\bals (?:een )?(?:ai\b|taalmodel|kunstmatige intelligentie)",
    r"\bsom (?:en |ett |et )?(?:ai\b|ai-|språkmodell?|sprogmodel)",
    r"\bjako (?:ai\b|sztuczna inteligencja|model językowy)",
    r"\bкак (?:искусственный интеллект|языковая модель|ии\b)",
    r"\bbir (?:yapay zeka|dil modeli) olarak",
    r"作为(?:一个|一名)?(?:人工智能|ai|语言模型|大语言模型)",
    r"(?:私は)?(?:ai|人工知能|言語モデル)(?:として|ですので|なので)",
    r"(?:저는 )?(?:ai|인공지능|언어 모델)(?:로서|이기 때문에)",
)
_ASKED_FOR = (  # what an assistant does not provide, answer or discuss; a person names the thing, or the day
    r"(?:(?:to |on |about )?(?:(?:that|this|these|those|such|your|any|the requested) (?:\w+ ){0,3}?(?:request|question"
    r"|quer(?:y|ies)|prompt|topic|subject|content|information|material|advice|assistance|guidance|instructions?)s?\b"
    r"|(?:that|this|it)(?=\s*(?:[.!\n]|$)))|(?:(?:medical|legal|financial|specific|further|personal|detailed) )*"
    r"(?:content|information|advice|assistance|guidance|instructions)\b)"
)
_CANNOT_HELP = (
    r"\bi(?:'m| am)? (?:cannot|can ?not|can't|won't|unable to|not able to|not allowed to) "
    r"(?:\w+ ){0,2}(?:assist|help you with|help with|fulfil|fulfill|comply|engage (?:in|with)|generate"
    rf"|continue with|write (?:that|this)|(?:provide|answer|discuss|create|respond) {_ASKED_FOR})",
    r"\bi(?:'m| am) (?:(?:very |so |really )?sorry|afraid),? (?:but )?(?:i )?(?:cannot|can't|am unable to) "
    r"(?:do that|help|assist)\b",
    r"\bich kann (?:dir|ihnen|euch|diese|dieser|dabei|das|hier)[^.!?\n]{0,40}nicht (?:\w+ )?"
    r"(?:helfen|beantworten|bereitstellen|erfüllen|nachkommen|unterstützen|weiterhelfen)",
    r"\bje ne (?:peux|puis)(?: malheureusement)? pas (?:vous |t')?(?:aider|répondre|fournir|satisfaire|accéder à)",
    r"\b(?:no puedo|no me es posible|não posso|não consigo) (?:\w+ )?(?:ayudar|ayudarte|ayudarle|proporcionar|cumplir"
    r"|responder a esa|ajudar|ajudá-lo|fornecer|atender)",
    r"\bnon (?:posso|sono in grado di) (?:\w+ )?(?:aiutar|assister|fornire|rispondere|soddisfare)",
    r"\bik kan (?:je |u |hier |daar |dat )[^.!?\n]{0,30}niet (?:\w+ )?(?:helpen|beantwoorden|geven)",
    r"\bjag kan (?:tyvärr )?inte (?:hjälpa|svara på|ge dig)|\bjeg kan (?:desværre |dessverre )?(?:ikke|ikkje) "
    r"(?:hjælpe|hjelpe|svare på|besvare)",
    r"\bnie mogę (?:\w+ )?(?:pomóc|odpowiedzieć|udzielić|spełnić)",
    r"\bя не могу (?:\w+ )?(?:помочь|ответить|предоставить|выполнить)",
    r"(?:yardımcı olamam|yardımcı olamıyorum|bu isteği yerine getiremem)",
    r"(?:我(?:无法|不能)(?:为您|为你|向您|向你)?(?:提供|回答|协助|帮助|满足))",
    r"(?:お手伝い|お答え|ご提供|ご協力)(?:する(?:こと|の)は|は)?(?:できません|できかねます|いたしかねます)",
    r"(?:도와드릴|답변(?:해 ?드릴|할)|제공(?:해 ?드릴|할)) 수 없습니다",
)
_REFUSAL = re.compile("|".join(f"(?:{each})" for each in (*_AS_A_MACHINE, *_CANNOT_HELP)), re.IGNORECASE)


def is_refusal(text: str) -> bool:
    """Whether an answer begins as one."""
    return _REFUSAL.search(text.strip()[:BEGINNING].replace("’", "'")) is not None
